"""Evaluation of vector targets: errors by task, the error matrix, yardsticks, all against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from mambacl import AngleTarget, Learner, SequenceConfig, VectorEncoder, VectorTarget, evaluate
from mambacl.config import ClassTarget, MambaMixer, Target
from mambacl.episodes import Episode, EpisodeSizes
from mambacl.episodes.sine import SineEpisodes
from mambacl.errors import DtypeError, InvalidValueError, ShapeError
from mambacl.evaluation import (
    ACCURACY,
    COSINE_ERROR,
    SQUARED_ERROR,
    ErrorMatrix,
    Metric,
    error_matrix,
    evaluate_predictor,
    metric_of,
)
from mambacl.yardsticks import mean_target, nearest_neighbour, ridge_regression, zero
from scripted_learners import WrittenEpisodes
from small_learners import small_episode, small_learner

SOURCE = SineEpisodes(EpisodeSizes(tasks=3, train_shots=2, test_shots=2), 0, "validation")


def sine_learner() -> Learner:
    mixer = MambaMixer(d_state=4)
    return Learner(
        SequenceConfig(VectorEncoder(50), VectorTarget(50), 8, mixer=mixer, selectivity=None), seed=1
    )


def errors_after(learner: Learner, index: int, tasks: int) -> Tensor:
    """The error of each query of an episode after some tasks, one by one, (Q)."""
    episode, read = SOURCE.batch(index, 1), 2 * tasks
    learner.eval()
    with torch.no_grad():
        state = learner.observe(learner.init_state(), episode.train_x[:, :read], episode.train_y[:, :read])
        answers = learner.predict(state, episode.test_x)
    return (answers - episode.test_y).double().square().mean((0, 2))


def test_errors_are_told_by_the_order_of_tasks():
    learner = sine_learner()
    found = evaluate(learner, SOURCE, 5, batch_size=2)
    each = torch.stack([errors_after(learner, index, 3) for index in range(5)])
    assert found.score.values.tolist() == pytest.approx(each.mean(1).tolist(), rel=1e-5)
    assert found.task_loss is not None
    assert found.task_loss.tolist() == pytest.approx(each.view(5, 3, 2).mean((0, 2)).tolist(), rel=1e-5)


def test_tasks_count_by_when_they_were_read():
    """Task 4 is read first; one query is of a task that the stream does not hold."""
    target = VectorTarget(3)
    one = small_episode(2, examples=4, queries=3, target=target)
    episode = Episode(
        *(one.train_x, one.train_y, one.test_x, one.test_y, one.codebook),
        train_task=torch.tensor([[4, 4, 1, 1]] * 2),
        test_task=torch.tensor([[1, 4, 9]] * 2),
    )
    learner = small_learner(target=target)
    found = evaluate(learner, WrittenEpisodes(episode), 2)
    learner.eval()
    with torch.no_grad():
        state = learner.observe(learner.init_state(2), episode.train_x, episode.train_y)
        errors = (learner.predict(state, episode.test_x) - episode.test_y).square().mean(-1)
    assert found.task_loss is not None
    assert found.task_loss.tolist() == pytest.approx(errors[:, [1, 0]].mean(0).tolist(), rel=1e-5)


def test_angles_are_told_by_task_too():
    target = AngleTarget()
    episode = small_episode(3, target=target)
    found = evaluate(small_learner(target=target), WrittenEpisodes(episode), 3)
    assert found.task_loss is not None
    assert ((found.task_loss >= 0) & (found.task_loss <= 2)).all()


def test_without_tasks_there_is_no_error_by_task():
    target = VectorTarget(3)
    one = small_episode(2, target=target)
    episode = Episode(one.train_x, one.train_y, one.test_x, one.test_y, one.codebook)
    learner = small_learner(target=target)
    assert evaluate(learner, WrittenEpisodes(episode), 2).task_loss is None
    with pytest.raises(
        DtypeError, match=r"`episode\.train_y` must hold int64 labels where `train_task` is N"
    ):
        error_matrix(learner, WrittenEpisodes(episode), 2)


def test_the_error_matrix_is_that_of_streams_cut_short():
    learner = sine_learner()
    matrix = error_matrix(learner, SOURCE, 5, batch_size=2)
    for i in range(3):
        each = torch.stack([errors_after(learner, index, i + 1).view(3, 2) for index in range(5)])
        row = each.mean((0, 2))[: i + 1].tolist()
        assert matrix.values[i, : i + 1].tolist() == pytest.approx(row, rel=1e-5)
        assert matrix.values[i, i + 1 :].isnan().all()
    found = evaluate(learner, SOURCE, 5)
    assert found.task_loss is not None
    torch.testing.assert_close(matrix.values[-1], found.task_loss, rtol=1e-5, atol=0)


def test_forgetting_is_the_rise_from_the_lowest_error():
    nan = math.nan
    matrix = ErrorMatrix(torch.tensor([[0.3, nan, nan], [0.1, 0.4, nan], [0.5, 0.2, 0.6]]).double(), 4)
    assert matrix.forgetting() == pytest.approx(((0.5 - 0.1) + (0.2 - 0.4)) / 2)
    assert matrix.average_error() == pytest.approx((0.5 + 0.2 + 0.6) / 3)
    assert matrix.anytime_error.tolist() == pytest.approx([0.3, 0.25, 1.3 / 3])
    assert matrix.tasks == 3
    with pytest.raises(ShapeError):
        ErrorMatrix(torch.zeros(2, 3), 1)


def test_a_learner_of_classes_has_no_error_matrix():
    with pytest.raises(InvalidValueError, match="error_matrix: argument `learner` must answer with vectors"):
        error_matrix(small_learner(), SOURCE, 2)


def test_yardsticks_agree_with_loops():
    episode = SOURCE.batch(0, 4)
    train_x, train_y, test_x, test_y = (
        tensor.numpy() for tensor in (episode.train_x, episode.train_y, episode.test_x, episode.test_y)
    )
    nearest = [
        [y[((x - query) ** 2).sum(1).argmin()] for query in queries]
        for x, y, queries in zip(train_x, train_y, test_x, strict=True)
    ]
    expected = {
        nearest_neighbour: np.array(nearest),
        mean_target: np.repeat(train_y.mean(1, keepdims=True), 6, axis=1),
        zero: np.zeros_like(test_y),
    }
    for yardstick, answers in expected.items():
        np.testing.assert_allclose(yardstick(episode).numpy(), answers, atol=1e-6)
        scores = evaluate_predictor(yardstick, SOURCE, 4, batch_size=3).values
        assert scores.tolist() == pytest.approx(((answers - test_y) ** 2).mean((1, 2)).tolist(), rel=1e-5)
    assert evaluate_predictor(ridge_regression, SOURCE, 4).mean < evaluate_predictor(zero, SOURCE, 4).mean


def test_directions_are_scored_by_their_angle():
    """By trigonometry: the length of an answer is no matter, that of no direction has an error of 1."""
    angle = torch.tensor([[0.3, 2.0, -1.0]] * 2).double()
    off = torch.tensor([[0.0, math.pi / 2, math.pi], [0.5, -0.5, 1.0]]).double()
    y = torch.stack([angle.cos(), angle.sin()], -1).float()
    answers = 3 * torch.stack([(angle + off).cos(), (angle + off).sin()], -1).float()
    one = small_episode(2, queries=3, target=AngleTarget())
    episodes = WrittenEpisodes(Episode(one.train_x, one.train_y, one.test_x, y, one.codebook))
    found = evaluate_predictor(lambda _: answers, episodes, 2, metric=COSINE_ERROR)
    assert found.values.tolist() == pytest.approx((1 - off.cos()).mean(1).tolist(), abs=1e-6)
    assert evaluate_predictor(zero, episodes, 2, metric=COSINE_ERROR).values.tolist() == [1, 1]
    squared = evaluate_predictor(lambda _: answers, episodes, 2).values.tolist()
    assert squared == pytest.approx((answers - y).square().mean((1, 2)).tolist())


def test_a_learner_of_angles_and_a_predictor_are_scored_alike():
    learner = small_learner(target=AngleTarget())
    episodes = WrittenEpisodes(small_episode(4, target=AngleTarget()))

    def answers(episode: Episode) -> Tensor:
        with torch.no_grad():
            state = learner.observe(learner.init_state(2), episode.train_x, episode.train_y)
            return learner.predict(state, episode.test_x)

    learner.eval()
    found = evaluate(learner, episodes, 4, batch_size=2).score.values.tolist()
    same = evaluate_predictor(answers, episodes, 4, batch_size=2, metric=COSINE_ERROR).values.tolist()
    assert found == pytest.approx(same, abs=1e-6)


@pytest.mark.parametrize(
    ("target", "metric", "message"),
    [
        (ClassTarget(), SQUARED_ERROR, r"one of 'accuracy' for targets of torch\.int64, got 'squared error'"),
        (VectorTarget(3), ACCURACY, r"one of 'squared error', '1 - cos' for .* got 'accuracy'"),
    ],
)
def test_metrics_of_other_targets_are_refused(target: Target, metric: Metric, message: str):
    episodes = WrittenEpisodes(small_episode(2, target=target))
    with pytest.raises(InvalidValueError, match=f"evaluate_predictor: argument `metric` must be {message}"):
        evaluate_predictor(lambda episode: episode.test_y, episodes, 2, metric=metric)


def test_predictions_of_another_shape_are_told():
    message = r"predictions must have shape \(2, 6, 50\), as the targets, got \(2, 1, 50\)"
    with pytest.raises(ShapeError, match=message):
        evaluate_predictor(lambda episode: episode.train_y.mean(1, keepdim=True), SOURCE, 2)


@pytest.mark.parametrize("yardstick", [mean_target, zero])
def test_labels_have_no_mean(yardstick):
    with pytest.raises(DtypeError, match=r"must hold vectors, got torch\.int64"):
        yardstick(small_episode())


@pytest.mark.parametrize(
    ("target", "metric"),
    [(ClassTarget(), ACCURACY), (VectorTarget(3), SQUARED_ERROR), (AngleTarget(), COSINE_ERROR)],
)
def test_each_target_has_its_metric(target: Target, metric: object):
    assert metric_of(target) is metric
    assert metric_of(target).higher_is_better == small_learner(target=target).is_classifier
