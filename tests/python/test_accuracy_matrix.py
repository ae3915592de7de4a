"""The accuracy matrix: learners of known memory, measures of written matrices, and streams it refuses."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from gaussian_episodes import GaussianEpisodes
from mambacl import AccuracyMatrix, Episode, LearnerState, Scores, VectorTarget, accuracy_matrix, evaluate
from mambacl.errors import DataError, DtypeError, InvalidValueError, ShapeError
from mambacl.evaluation import ErrorMatrix
from scripted_learners import ScriptedLearner, WrittenEpisodes
from small_learners import DIM, VOCAB, small_learner

NAN = torch.nan
SOURCE = GaussianEpisodes(seed=0, tasks=4, dim=DIM, vocab=VOCAB)
WRITTEN = torch.tensor(
    [
        [0.50, NAN, NAN, NAN],
        [0.90, 0.60, NAN, NAN],
        [0.70, 0.80, 0.40, NAN],
        [0.60, 0.85, 0.10, 0.30],
    ],
    dtype=torch.float64,
)


def episodes(train_y: list[list[int]], test_y: list[list[int]], **tasks: list[list[int]]) -> Episode:
    """Of labels alone; an input holds its label."""
    y, asked = torch.tensor(train_y), torch.tensor(test_y)
    return Episode(
        train_x=y.unsqueeze(-1).expand(-1, -1, DIM).float(),
        train_y=y,
        test_x=asked.unsqueeze(-1).expand(-1, -1, DIM).float(),
        test_y=asked,
        codebook=torch.arange(VOCAB).repeat(len(y), 1),
        **{name: torch.tensor(task) for name, task in tasks.items()},
    ).validate()


def remembering(last: int, shots: int = 1) -> ScriptedLearner:
    """Knows the `last` newest labels, of `shots` examples each; asked of others it answers with 0."""

    def script(state: LearnerState, x: Tensor) -> Tensor:
        labels = x[..., 0].long()
        known = labels >= state.examples // shots - last
        return torch.nn.functional.one_hot(labels.where(known, 0), VOCAB).float()

    return ScriptedLearner(script)


def test_a_learner_that_remembers_two_tasks():
    y = [[0, 0, 1, 1, 2, 2, 3, 3]]
    source = WrittenEpisodes(episodes(y * 3, [[3, 2, 1, 0, 0]] * 3))
    learner = remembering(2, shots=2)
    got = accuracy_matrix(learner, source, 3, batch_size=2)
    want = [
        [1, NAN, NAN, NAN],
        [1, 1, NAN, NAN],
        [1, 1, 1, NAN],  # 0 is forgotten as well, but what the learner answers with
        [1, 0, 1, 1],
    ]
    np.testing.assert_equal(got.values.numpy(), np.array(want))
    assert got.values.dtype == torch.float64
    assert got.episodes == 3
    assert got.tasks == 4
    assert learner.read == 3 * 8  # each example once


def test_answers_are_among_the_labels_observed_so_far():
    """A learner whose largest logit is always that of the last label knows it only once it was read."""
    biased = ScriptedLearner(lambda state, x: torch.arange(float(VOCAB)).expand(*x.shape[:2], -1))
    got = accuracy_matrix(biased, WrittenEpisodes(episodes([[0, 1, 2]] * 2, [[0, 1, 2]] * 2)), 2)
    np.testing.assert_equal(got.values.numpy(), np.array([[1, NAN, NAN], [0, 1, NAN], [0, 0, 1]]))


def test_tasks_are_in_the_order_of_the_stream_and_may_hold_several_classes():
    task = [[9, 9, 9, 4], [2, 2, 2, 8]]
    asked = [[4, 9, 9, 5], [8, 8, 2, 2]]  # 5 is no task of the stream
    source = episodes([[0, 1, 2, 3]] * 2, [[3, 0, 2, 1], [3, 3, 0, 2]], train_task=task, test_task=asked)
    got = accuracy_matrix(remembering(2), WrittenEpisodes(source), 2, batch_size=2)
    # After 3 examples 0 (the fallback), 1 and 2 are right; after 4 also 3.
    np.testing.assert_equal(got.values.numpy(), np.array([[1, NAN], [1, 1]]))
    got = accuracy_matrix(remembering(1), WrittenEpisodes(source), 2, batch_size=1)
    np.testing.assert_equal(got.values.numpy(), np.array([[1, NAN], [0.5, 1]]))


def test_a_task_counts_in_the_episodes_that_ask_of_it():
    source = episodes([[0, 1]] * 3, [[0, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 1]])
    ones = ScriptedLearner(lambda state, x: torch.nn.functional.one_hot(x[..., 0].long() * 0 + 1, 8).float())
    got = accuracy_matrix(ones, WrittenEpisodes(source), 3)
    np.testing.assert_equal(got.values.numpy(), np.array([[1, NAN], [0, 1]]))


@pytest.mark.parametrize("batch_size", [1, 3, 50])
def test_the_last_row_is_the_task_accuracy_of_the_evaluation(batch_size: int):
    learner = small_learner()
    got = accuracy_matrix(learner, SOURCE, 20, batch_size=batch_size)
    want = evaluate(learner, SOURCE, 20)
    assert want.task_accuracy is not None
    torch.testing.assert_close(got.values[-1], want.task_accuracy, rtol=0, atol=1e-12)
    assert got.average_accuracy() == pytest.approx(want.score.mean)
    assert got.values[0, 0] == 1  # of one label
    assert got.values.tril().unique().numel() > 3


def test_each_row_is_an_evaluation_of_the_shorter_stream():
    learner, shots = small_learner(), SOURCE.train_shots
    got = accuracy_matrix(learner, SOURCE, 10)
    for i in range(SOURCE.tasks):
        whole = SOURCE.batch(0, 10)
        n, q = (i + 1) * shots, (i + 1) * SOURCE.test_shots
        short = dataclasses.replace(
            whole,
            train_x=whole.train_x[:, :n],
            train_y=whole.train_y[:, :n],
            test_x=whole.test_x[:, :q],
            test_y=whole.test_y[:, :q],
        )
        want = evaluate(learner, WrittenEpisodes(short), 10).task_accuracy
        assert want is not None
        torch.testing.assert_close(got.values[i, : i + 1], want, rtol=0, atol=1e-12)


def test_measures_of_a_written_matrix():
    matrix = AccuracyMatrix(WRITTEN, episodes=1)
    assert matrix.average_accuracy() == pytest.approx((0.60 + 0.85 + 0.10 + 0.30) / 4)
    assert matrix.backward_transfer() == pytest.approx((0.10 + 0.25 - 0.30) / 3)
    assert matrix.forgetting() == matrix.forgetting("earlier_best")
    assert matrix.forgetting("earlier_best") == pytest.approx((0.30 - 0.05 + 0.30) / 3)
    assert matrix.forgetting("best") == pytest.approx((0.30 + 0 + 0.30) / 3)
    assert matrix.forgetting("first") == pytest.approx((-0.10 - 0.25 + 0.30) / 3)
    assert matrix.diagonal.tolist() == [0.50, 0.60, 0.40, 0.30]
    assert matrix.anytime_accuracy.tolist() == pytest.approx([0.5, 0.75, 1.9 / 3, 1.85 / 4])


def recomputed(values: NDArray[np.float64], reference: str) -> float:
    last = len(values) - 1
    differences: list[float] = []
    for task in range(last):
        rows = {"earlier_best": range(task, last), "best": range(task, last + 1), "first": [task]}[reference]
        differences.append(max(values[row, task] for row in rows) - values[last, task])
    return float(np.mean(differences))


@given(st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_the_three_kinds_of_forgetting(tasks: int, seed: int):
    values = np.random.default_rng(seed).integers(0, 11, (tasks, tasks)) / 10  # with ties
    full = AccuracyMatrix(torch.from_numpy(values), episodes=1)
    above = torch.ones(tasks, tasks, dtype=torch.bool).triu(1)
    matrix = AccuracyMatrix(full.values.masked_fill(above, NAN), episodes=1)
    kinds = {}
    for reference in ("earlier_best", "best", "first"):
        kinds[reference] = matrix.forgetting(reference)
        assert kinds[reference] == pytest.approx(recomputed(values, reference))
        assert full.forgetting(reference) == kinds[reference]  # what lies above is not looked at
    assert full.anytime_accuracy.tolist() == matrix.anytime_accuracy.tolist()
    assert kinds["best"] >= 0
    assert kinds["best"] >= kinds["earlier_best"] >= kinds["first"] - 1e-12
    assert matrix.backward_transfer() == pytest.approx(-kinds["first"])


def test_a_single_task_has_nothing_to_forget():
    matrix = AccuracyMatrix(torch.tensor([[0.8]], dtype=torch.float64), episodes=1)
    assert matrix.average_accuracy() == 0.8
    assert matrix.anytime_accuracy.tolist() == [0.8]
    assert np.isnan(matrix.backward_transfer())
    assert all(np.isnan(matrix.forgetting(r)) for r in ("earlier_best", "best", "first"))


def test_an_unknown_reference():
    unknown: Any = "worst"
    with pytest.raises(InvalidValueError, match="`reference` must be one of 'earlier_best', 'best', 'first'"):
        AccuracyMatrix(WRITTEN, episodes=1).forgetting(unknown)


@pytest.mark.parametrize("shape", [(2, 3), (4,), (0, 0), (2, 2, 2)])
def test_a_matrix_that_is_not_square(shape: tuple[int, ...]):
    with pytest.raises(ShapeError, match=r"must have shape \(tasks, tasks\)"):
        AccuracyMatrix(torch.zeros(shape, dtype=torch.float64), episodes=1)


def test_a_matrix_with_a_hole():
    holed = WRITTEN.clone()
    holed[2, 1] = NAN
    with pytest.raises(InvalidValueError, match="up to the diagonal, got NaN"):
        AccuracyMatrix(holed, episodes=1)


@pytest.mark.parametrize(
    ("train_y", "test_y", "message"),
    [
        ([[0, 0, 1], [0, 1, 0]], [[0, 1]] * 2, "returns to a task it has left, episode 1 of a batch"),
        ([[0, 1, 2, 1, 2]] * 2, [[0, 1]] * 2, "returns to a task it has left, episode 0 of a batch"),
        ([[0, 0, 1], [0, 1, 1]], [[0, 1]] * 2, "got others in episode 1 than in episode 0"),
        ([[0, 0, 1]] * 2, [[0, 0]] * 2, "got none of task 1 of the stream"),
    ],
)
def test_streams_it_cannot_take(train_y: list[list[int]], test_y: list[list[int]], message: str):
    learner = remembering(1).train()
    with pytest.raises(DataError, match=message):
        accuracy_matrix(learner, WrittenEpisodes(episodes(train_y, test_y)), 2)
    assert learner.training


def test_tasks_may_begin_elsewhere_in_another_batch_but_be_as_many():
    source = episodes([[0, 0, 1], [0, 1, 1]], [[0, 1]] * 2)
    got = accuracy_matrix(remembering(8), WrittenEpisodes(source), 2, batch_size=1)
    assert got.values.nansum() == 3
    source = episodes([[0, 0, 1], [0, 1, 2]], [[0, 1]] * 2)
    with pytest.raises(DataError, match="must have as many tasks, got 2 and 3"):
        accuracy_matrix(remembering(8), WrittenEpisodes(source), 2, batch_size=1)


def test_vectors_are_refused():
    with pytest.raises(InvalidValueError, match="must answer with classes, got one of VectorTarget"):
        accuracy_matrix(small_learner(target=VectorTarget(3)), SOURCE)
    x = torch.zeros(2, 3, DIM)
    vectors = Episode(x, x, x, x, codebook=torch.arange(VOCAB).repeat(2, 1))
    with pytest.raises(DtypeError, match="must hold int64 labels"):
        accuracy_matrix(small_learner(), WrittenEpisodes(vectors), 2)


@pytest.mark.parametrize("name", ["episodes", "batch_size"])
def test_too_few(name: str):
    arguments: dict[str, Any] = {name: 0}
    with pytest.raises(InvalidValueError, match=f"accuracy_matrix: argument `{name}` must be at least 1"):
        accuracy_matrix(small_learner(), SOURCE, **arguments)


R: NDArray[np.float64] = WRITTEN.numpy()


@pytest.mark.parametrize(
    "values",
    [
        R,
        R.tolist(),
        R.astype(np.float32),
        R.astype(">f8"),
        np.asfortranarray(R),
        WRITTEN.clone().requires_grad_(),
    ],
    ids=["array", "lists", "float32", "big endian", "columns", "with a gradient"],
)
def test_a_matrix_may_be_an_array_or_lists(values: Any):
    expected, matrix = AccuracyMatrix(WRITTEN, 1), AccuracyMatrix(values, 1)
    assert matrix.values.dtype == torch.float64
    torch.testing.assert_close(matrix.values, WRITTEN, equal_nan=True, atol=1e-7, rtol=0)
    for reference in ("earlier_best", "best", "first"):
        assert matrix.forgetting(reference) == pytest.approx(expected.forgetting(reference), abs=1e-6)
    assert matrix.average_accuracy() == pytest.approx(0.4625, abs=1e-6)
    errors = ErrorMatrix(values, 1)
    assert errors.average_error() == pytest.approx(0.4625, abs=1e-6)
    assert errors.forgetting() == pytest.approx(ErrorMatrix(WRITTEN, 1).forgetting(), abs=1e-6)


@pytest.mark.parametrize("made_of", [AccuracyMatrix, ErrorMatrix])
@pytest.mark.parametrize(
    ("values", "error", "told"),
    [
        ([[1.0], [0.5, 0.2]], ShapeError, "got lists of several lengths"),
        (np.zeros((2, 3)), ShapeError, r"must have shape \(tasks, tasks\), got \(2, 3\)"),
        (0.5, ShapeError, r"got \(\)"),
        (R > 0.5, DtypeError, "must hold numbers, got bool"),
        (WRITTEN > 0.5, DtypeError, r"must hold numbers, got torch\.bool"),
        (R * 1j, DtypeError, "must hold numbers, got complex128"),
        ([["a"]], DtypeError, "must hold numbers, got <U1"),
        (None, DtypeError, "must hold numbers, got NoneType"),
        ([[10**400]], DtypeError, "must hold numbers, got list"),
        (np.array([[0.5, np.nan], [np.nan, 0.5]]), InvalidValueError, "got NaN"),
    ],
)
def test_what_is_no_matrix(made_of: type, values: Any, error: type[Exception], told: str):
    with pytest.raises(error, match=told):
        made_of(values, 1)


def test_scores_may_be_an_array_or_a_list():
    for values in ([0.5, 1, 0.75], np.array([0.5, 1, 0.75], np.float16), torch.tensor([0.5, 1, 0.75])):
        scores = Scores(values)
        assert (scores.mean, scores.values.dtype) == (0.75, torch.float64)
    with pytest.raises(ShapeError, match=r"Scores: `values` must have shape \(episodes\), got \(4, 4\)"):
        Scores(R)
    with pytest.raises(DtypeError, match="Scores: `values` must hold numbers, got <U1"):
        Scores(["a"])
