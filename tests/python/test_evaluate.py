"""Evaluation: what is measured, and what may be said of its mean; the learner is left as it was."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from gaussian_episodes import GaussianEpisodes
from mambacl import (
    AngleTarget,
    Episode,
    Evaluation,
    Scores,
    VectorTarget,
    accuracy_matrix,
    evaluate,
    evaluate_predictor,
)
from mambacl.config import Target
from mambacl.errors import InvalidValueError, NonFiniteError
from mambacl.yardsticks import class_mean, nearest_neighbour
from scripted_learners import ScriptedLearner, WrittenEpisodes
from small_learners import DIM, VOCAB, assert_same, small_episode, small_learner, tensors

SOURCE = GaussianEpisodes(seed=0, dim=DIM, vocab=VOCAB)


@dataclasses.dataclass(frozen=True)
class VectorEpisodes:
    """Episodes of vector targets."""

    target: Target

    def batch(self, first_index: int, batch_size: int) -> Episode:
        """Episodes `first_index` to `first_index + batch_size - 1`."""
        parts = [
            small_episode(batch=1, target=self.target, seed=first_index + offset)
            for offset in range(batch_size)
        ]
        joined = {
            field.name: torch.cat([getattr(part, field.name) for part in parts])
            for field in dataclasses.fields(Episode)
        }
        return Episode(**joined)


def test_mean_and_interval_are_those_of_numpy():
    values = np.random.default_rng(0).random(50)
    scores = Scores(torch.from_numpy(values))
    assert scores.mean == pytest.approx(values.mean())
    assert scores.interval == pytest.approx(1.96 * values.std(ddof=1) / np.sqrt(50))
    assert str(Scores(torch.tensor([0.25, 0.75], dtype=torch.float64))) == "0.500 ± 0.490"


def test_each_episode_has_its_own_score():
    learner = small_learner()
    scores = evaluate(learner, SOURCE, 7, batch_size=3).score
    assert scores.values.shape == (7,)
    assert scores.values.dtype == torch.float64
    learner.eval()
    for index, value in enumerate(scores.values.tolist()):
        assert value == pytest.approx(learner(SOURCE.batch(index, 1)).accuracy.item())
    assert scores.values.unique().numel() > 1


def assert_evaluations_near(one: Evaluation, other: Evaluation) -> None:
    for name in ("accuracy", "vocabulary_accuracy"):
        assert torch.equal(getattr(one, name).values, getattr(other, name).values)
    for name in ("loss", "nll"):
        torch.testing.assert_close(getattr(one, name).values, getattr(other, name).values, rtol=1e-5, atol=0)
    assert one.task_accuracy is not None
    assert other.task_accuracy is not None
    torch.testing.assert_close(one.task_accuracy, other.task_accuracy)
    assert one.calibration is not None
    assert other.calibration is not None
    torch.testing.assert_close(
        one.calibration.confidence_sum.sum(), other.calibration.confidence_sum.sum(), rtol=1e-5, atol=0
    )
    assert one.state_bytes == other.state_bytes


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_measurements_do_not_depend_on_the_batch(batch_size: int):
    one = evaluate(small_learner(), SOURCE, 9)
    assert_evaluations_near(evaluate(small_learner(), SOURCE, 9, batch_size=batch_size), one)


@pytest.mark.parametrize("measure", [evaluate, accuracy_matrix])
@pytest.mark.parametrize("mode", [True, False])
def test_the_learner_is_left_as_it_was(measure: Callable[..., object], mode: bool):
    learner = small_learner().train(mode)
    before, random = tensors(learner), torch.get_rng_state()
    measure(learner, SOURCE, 4)
    assert learner.training is mode
    assert_same(tensors(learner), before)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in learner.parameters())
    assert torch.is_grad_enabled()


def test_each_module_is_left_in_its_mode():
    learner = small_learner().train()
    learner.get_submodule("encoder").eval()
    modes = {name: module.training for name, module in learner.named_modules()}
    assert len(set(modes.values())) == 2
    evaluate(learner, SOURCE, 2)
    assert {name: module.training for name, module in learner.named_modules()} == modes


def test_the_mode_comes_back_after_an_error():
    learner = small_learner().train()
    with pytest.raises(InvalidValueError):
        evaluate(learner, SOURCE, 1)
    assert learner.training


def test_training_mode_scores_as_evaluation_mode():
    one, other = evaluate(small_learner().train(), SOURCE, 5), evaluate(small_learner().eval(), SOURCE, 5)
    assert_evaluations_near(one, other)


def test_yardsticks_see_the_same_episodes():
    asked: dict[str, list[Episode]] = {"learner": [], "yardstick": []}

    @dataclasses.dataclass(frozen=True)
    class Recording(GaussianEpisodes):
        name: str = "learner"

        def batch(self, first_index: int, batch_size: int) -> Episode:
            asked[self.name].append(super().batch(first_index, batch_size))
            return asked[self.name][-1]

    evaluate(small_learner(), Recording(seed=0, dim=DIM, vocab=VOCAB), 5, batch_size=2)
    source = Recording(seed=0, dim=DIM, vocab=VOCAB, name="yardstick")
    scores = evaluate_predictor(nearest_neighbour, source, 5, batch_size=2)
    assert [e.batch_size for e in asked["learner"]] == [2, 2, 1]
    for one, other in zip(asked["learner"], asked["yardstick"], strict=True):
        assert torch.equal(one.train_x, other.train_x)
        assert torch.equal(one.test_x, other.test_x)
    assert scores.mean > 0.9  # the classes are far apart


def test_a_predictor_is_scored_by_the_share_it_gets_right():
    first = evaluate_predictor(lambda episode: torch.zeros_like(episode.test_y), SOURCE, 4)
    assert first.values.tolist() == pytest.approx([1 / 3] * 4)
    assert evaluate_predictor(lambda episode: episode.test_y, SOURCE, 4).mean == 1.0
    assert evaluate_predictor(class_mean, SOURCE, 20).mean > 0.9


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def test_all_measurements_are_those_of_numpy():
    """Random logits, streams that mix their tasks and differ in their labels, two labels a task; query by
    query."""
    generator = torch.Generator().manual_seed(1)
    episodes, queries, labels = 6, 10, 6
    tasks = torch.stack([torch.randperm(3, generator=generator) for _ in range(episodes)])  # by label // 2
    train_y = torch.stack([torch.randperm(labels, generator=generator) for _ in range(episodes)])
    test_y = torch.randint(0, labels, (episodes, queries), generator=generator)
    logits = 2 * torch.randn(episodes, queries, VOCAB, generator=generator)
    logits.scatter_add_(2, test_y.unsqueeze(-1), 3 * torch.rand(episodes, queries, 1, generator=generator))
    number = torch.arange(episodes).view(-1, 1, 1).float()
    episode = Episode(
        train_x=number.expand(-1, labels, DIM),
        train_y=train_y,
        test_x=number.expand(-1, queries, DIM),
        test_y=test_y,
        codebook=torch.arange(VOCAB).repeat(episodes, 1),
        train_task=tasks.gather(1, train_y // 2),
        test_task=tasks.gather(1, test_y // 2),
    ).validate()
    learner = ScriptedLearner(lambda state, x: logits[x[:, 0, 0].long()])
    got = evaluate(learner, WrittenEpisodes(episode), episodes, batch_size=4)

    accuracy, whole, nll, loss = (np.zeros((episodes, queries)) for _ in range(4))
    confidences = np.zeros((episodes, queries))
    by_task: list[list[float]] = [[], [], []]
    assert episode.train_task is not None
    assert episode.test_task is not None
    for e in range(episodes):
        order = list(dict.fromkeys(episode.train_task[e].tolist()))
        rights: dict[int, list[float]] = {}
        for q in range(queries):
            scores, y = logits[e, q].double().numpy(), int(test_y[e, q])
            seen = softmax(scores[:labels])  # labels 6 and 7 are never observed
            accuracy[e, q] = seen.argmax() == y
            whole[e, q] = scores.argmax() == y
            nll[e, q], loss[e, q] = -np.log(seen[y]), -np.log(softmax(scores)[y])
            confidences[e, q] = seen.max()
            rights.setdefault(order.index(int(episode.test_task[e, q])), []).append(accuracy[e, q])
        for task, values in rights.items():
            by_task[task].append(float(np.mean(values)))

    assert got.accuracy is not None
    assert got.vocabulary_accuracy is not None
    assert got.nll is not None
    assert got.task_accuracy is not None
    assert got.calibration is not None
    assert got.accuracy.values.tolist() == pytest.approx(accuracy.mean(1).tolist())
    assert got.vocabulary_accuracy.values.tolist() == pytest.approx(whole.mean(1).tolist())
    assert got.nll.values.tolist() == pytest.approx(nll.mean(1).tolist())
    assert got.loss.values.tolist() == pytest.approx(loss.mean(1).tolist(), rel=1e-5)
    assert got.task_accuracy.dtype == torch.float64
    assert got.task_accuracy.tolist() == pytest.approx([float(np.mean(values)) for values in by_task])
    assert got.calibration.total == episodes * queries
    assert got.calibration.confidence_sum.sum().item() == pytest.approx(confidences.sum())
    assert got.calibration.right.sum().item() == accuracy.sum()
    assert accuracy.mean() > whole.mean()  # the example tells the two apart
    assert len({round(value, 6) for value in got.task_accuracy.tolist()}) == 3
    assert got.score is got.accuracy
    assert got.higher_is_better


def no_answer(state: object, x: Tensor) -> Tensor:
    return torch.zeros(*x.shape[:2], VOCAB)


def test_a_label_that_the_stream_does_not_hold_is_a_wrong_answer():
    episode = Episode(
        train_x=torch.zeros(2, 1, DIM),
        train_y=torch.tensor([[0], [0]]),
        test_x=torch.zeros(2, 2, DIM),
        test_y=torch.tensor([[0, 1], [0, 0]]),
        codebook=torch.arange(VOCAB).repeat(2, 1),
    )
    got = evaluate(ScriptedLearner(no_answer), WrittenEpisodes(episode), 2)
    assert got.accuracy is not None
    assert got.accuracy.values.tolist() == [0.5, 1.0]
    assert got.nll is not None
    assert got.nll.values.tolist() == [math.inf, 0.0]
    assert got.task_accuracy is not None
    assert got.task_accuracy.tolist() == [1.0]  # the query of no task counts for none
    assert got.loss.values.tolist() == pytest.approx([math.log(VOCAB)] * 2)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_episodes_may_differ_in_their_tasks(batch_size: int):
    """Task 1 is asked of in the second episode alone, task 2 in none."""
    episode = Episode(
        train_x=torch.zeros(2, 3, DIM),
        train_y=torch.tensor([[0, 0, 0], [0, 1, 2]]),
        test_x=torch.zeros(2, 2, DIM),
        test_y=torch.tensor([[0, 0], [0, 1]]),
        codebook=torch.arange(VOCAB).repeat(2, 1),
    )
    got = evaluate(ScriptedLearner(no_answer), WrittenEpisodes(episode), 2, batch_size=batch_size)
    assert got.task_accuracy is not None
    assert got.task_accuracy[:2].tolist() == [1.0, 0.0]
    assert got.task_accuracy[2].isnan()


@pytest.mark.parametrize("target", [VectorTarget(3), AngleTarget()])
def test_vector_targets_are_scored_by_their_loss(target: Target):
    learner, source = small_learner(target=target), VectorEpisodes(target)
    got = evaluate(learner, source, 5, batch_size=2)
    assert got.score is got.loss
    assert not got.higher_is_better
    learner.eval()
    want = [learner(source.batch(index, 1)).objective.item() for index in range(5)]
    assert got.loss.values.tolist() == pytest.approx(want, rel=1e-5)
    assert got.accuracy is got.vocabulary_accuracy is got.nll is got.task_accuracy is got.calibration is None
    assert got.state_bytes == learner.init_state().nbytes


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_state_is_measured_by_the_stream(batch_size: int):
    learner = small_learner()
    assert evaluate(learner, SOURCE, 4, batch_size=batch_size).state_bytes == learner.init_state().nbytes


def test_a_learner_that_answers_with_nan_is_told():
    learner = ScriptedLearner(lambda state, x: torch.full((*x.shape[:2], VOCAB), torch.nan)).train()
    with pytest.raises(NonFiniteError, match="answers with NaN"):
        evaluate(learner, SOURCE, 2)
    assert learner.training


@pytest.mark.parametrize("episodes", [1, 0, -5])
def test_too_few_episodes(episodes: int):
    message = f"argument `episodes` must be at least 2, got {episodes}"
    with pytest.raises(InvalidValueError, match=f"evaluate: {message}"):
        evaluate(small_learner(), SOURCE, episodes)
    with pytest.raises(InvalidValueError, match=f"evaluate_predictor: {message}"):
        evaluate_predictor(nearest_neighbour, SOURCE, episodes)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_too_small_a_batch(batch_size: int):
    message = f"argument `batch_size` must be at least 1, got {batch_size}"
    with pytest.raises(InvalidValueError, match=f"evaluate: {message}"):
        evaluate(small_learner(), SOURCE, 2, batch_size=batch_size)
    with pytest.raises(InvalidValueError, match=f"evaluate_predictor: {message}"):
        evaluate_predictor(nearest_neighbour, SOURCE, 2, batch_size=batch_size)
