"""The regressor of a stream."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mambacl import AngleTarget, ContinualClassifier, ContinualRegressor, VectorTarget
from mambacl.errors import InvalidValueError, ShapeError
from small_learners import DIM, small_learner

X = np.random.default_rng(0).normal(size=(20, DIM))
QUERIES = np.random.default_rng(1).normal(size=(4, DIM))


@pytest.mark.parametrize("target", [VectorTarget(1), VectorTarget(3), AngleTarget()], ids=str)
def test_it_answers_as_the_learner_does(target: Any):
    learner = small_learner(target=target)
    y = np.random.default_rng(2).normal(size=(20, target.dim))
    with torch.no_grad():
        tensors = [torch.tensor(array[None], dtype=torch.float32) for array in (X, y, QUERIES)]
        state = learner.observe(learner.init_state(), tensors[0], tensors[1])
        expected = learner.predict(state, tensors[2])[0]
    single = target.dim == 1
    regressor = ContinualRegressor(learner).fit(X, y[:, 0] if single else y)
    answers = regressor.predict(QUERIES)
    np.testing.assert_allclose(answers, expected[:, 0] if single else expected, atol=1e-6)
    pieces = ContinualRegressor(learner)
    for start in range(0, 20, 6):
        pieces.partial_fit(X[start : start + 6], torch.tensor(y[start : start + 6]).squeeze(1))
    np.testing.assert_allclose(pieces.predict(QUERIES), answers, atol=1e-5)
    assert isinstance(regressor.score(QUERIES, answers), float)


def test_features_are_adapted(tmp_path: Any):
    regressor = ContinualRegressor(small_learner(target=VectorTarget(2))).fit(
        np.arange(36).reshape(12, 3), np.eye(12, 2)
    )
    assert regressor.predict([[0, 1, 2]]).shape == (1, 2)
    regressor.save(tmp_path / "regressor")
    again = ContinualRegressor.load(tmp_path / "regressor")
    np.testing.assert_array_equal(again.predict([[0, 1, 2]]), regressor.predict([[0, 1, 2]]))


def test_a_learner_is_needed_and_of_vectors():
    with pytest.raises(InvalidValueError, match="argument `learner` must be given"):
        ContinualRegressor().fit(X, X[:, 0])
    with pytest.raises(
        InvalidValueError, match="must answer with vectors, got one with the target ClassTarget"
    ):
        ContinualRegressor(small_learner()).fit(X, X[:, 0])
    with pytest.raises(
        InvalidValueError, match="must answer with classes, got one with the target VectorTarget"
    ):
        ContinualClassifier(small_learner(target=VectorTarget(1))).fit(X, [0] * 20)


@pytest.mark.parametrize(
    ("y", "told"),
    [
        (["a", "b"], "must be numbers, got the dtype <U1"),
        ([b"a", b"b"], "must be numbers, got the dtype"),
        ([None, 1.0], "must be finite numbers"),
        ([10**400, 1], "must be numbers that float64 holds"),
        ([1.0], "inconsistent numbers of samples"),
    ],
)
def test_targets_that_are_no_numbers_leave_what_was_learnt(y: Any, told: str):
    regressor = ContinualRegressor(small_learner(target=VectorTarget(1))).fit(X, X[:, 0])
    before = regressor.predict(QUERIES)
    with pytest.raises(ValueError, match=told):
        regressor.partial_fit(X[:2], y)
    np.testing.assert_array_equal(regressor.predict(QUERIES), before)


def test_targets_that_do_not_fit_are_refused():
    regressor = ContinualRegressor(small_learner(target=VectorTarget(2)))
    with pytest.raises(
        ShapeError, match=r"y must have shape \(n, 2\), as the learner's answers, got \(20, 3\)"
    ):
        regressor.fit(X, X[:, :3])
    with pytest.raises(ValueError, match="NaN"):
        regressor.fit(X, np.full((20, 2), np.nan))
    with pytest.raises(InvalidValueError, match="y holds a value too large"):
        regressor.fit(X, np.full((20, 2), 1e200))
