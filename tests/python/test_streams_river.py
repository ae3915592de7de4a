"""The classifier in River's habits, by River's own checks where it is installed."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mambacl import (
    ClassTarget,
    ContinualClassifier,
    ContinualRegressor,
    Learner,
    PrototypeConfig,
    SequenceConfig,
    VectorEncoder,
    VectorTarget,
)
from mambacl.errors import InvalidValueError
from mambacl.streams.river import RiverClassifier, RiverRegressor

LEARNER = Learner(PrototypeConfig(VectorEncoder(8), ClassTarget(16), d_model=32))
VECTORS = Learner(SequenceConfig(VectorEncoder(8), VectorTarget(1), d_model=16))
MODELS = [RiverClassifier(LEARNER), RiverRegressor(VECTORS)]


def river_checks() -> list[tuple[Any, Callable[[Any], None]]]:
    try:
        from river.checks import yield_checks
    except ImportError:
        return []
    # It reads long streams; that a state is fixed in size is tested in test_streams.py.
    left_out = {"check_bounded_memory_growth"}
    return [
        (model, check) for model in MODELS for check in yield_checks(model) if check.__name__ not in left_out
    ]


@pytest.mark.parametrize(
    ("model", "check"), river_checks(), ids=lambda value: getattr(value, "__name__", type(value).__name__)
)
def test_river_is_content(model: Any, check: Callable[[Any], None]):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # River's data sets read in ways that its dependencies deprecate
        check(model.clone())


def test_it_is_the_classifier():
    x = np.random.default_rng(0).normal(size=(20, 3))
    rows = [dict(zip("abc", row.tolist(), strict=True)) for row in x]
    model, classifier = RiverClassifier(LEARNER, seed=4), ContinualClassifier(LEARNER, random_state=4)
    for i, row in enumerate(rows[:15]):
        model.learn_one(row, f"class {i % 4}")
        classifier.partial_fit(x[i : i + 1], [f"class {i % 4}"])
    for i, row in enumerate(rows[15:], 15):
        assert model.predict_one(dict(reversed(row.items()))) == classifier.predict(x[i : i + 1])[0]
        probabilities = classifier.predict_proba(x[i : i + 1])[0].tolist()
        assert list(model.predict_proba_one(row).values()) == probabilities


def test_before_any_example_there_is_no_answer():
    assert RiverClassifier(LEARNER).predict_one({"a": 1.0}) is None
    assert RiverClassifier(LEARNER).predict_proba_one({"a": 1.0}) == {}


@pytest.mark.parametrize("label", [True, 3, "text"])
def test_labels_are_those_of_python(label: Any):
    model = RiverClassifier(LEARNER)
    model.learn_one({"a": 1.0, 2: 0.5}, label)
    assert type(model.predict_one({2: 1.0, "a": 0.5})) is type(label)


def test_what_is_no_number_is_refused_and_nothing_is_learnt():
    model = RiverClassifier(LEARNER)
    with pytest.raises(InvalidValueError, match="could not convert the feature 'colour' to a number"):
        model.learn_one({"colour": "red"}, 0)
    model.learn_one({"a": 1.0, "b": 2.0}, 0)
    expected = model.predict_proba_one({"a": 1.0})
    for x, y, told in (
        ({"c": None}, 1, "the feature 'c'"),
        ({"c": float("nan")}, 1, "the feature 'c' must be finite, got nan"),
        ({"c": 10**400}, 1, "the feature 'c'"),
        ({"c": 1.0, "d": 2.0}, "text", "must be numbers, as earlier labels"),
        ({"c": 1e200}, 1, "too large"),
    ):
        with pytest.raises(ValueError, match=told):
            model.learn_one(x, y)
        assert model.predict_proba_one({"a": 1.0, "c": 9.0, "d": 9.0}) == expected
        assert model.classifier.n_features_in_ == 2
    with pytest.raises(TypeError, match="`x` must be a dictionary"):
        model.predict_one([1.0])  # pyright: ignore[reportArgumentType]
    model.learn_one({"d": 1.0, "a": 0.0}, 1)  # the refused "c" has taken no place
    assert model.classifier.n_features_in_ == 3


SPARSE = [{"a": 1.0, "b": 5.0}, {"c": 2.0, "a": 3.0}, {}, {"b": 1.0}, {"d": 7.0, "e": 1.0}] * 2
DENSE = np.array([[x.get(name, 0.0) for name in "abcde"] for x in SPARSE])


def test_in_the_first_examples_a_late_feature_is_as_one_that_was_zero():
    """All are kept and read again, so that it does not matter when a name came."""
    model, classifier = RiverClassifier(LEARNER), ContinualClassifier(LEARNER)
    for number, x in enumerate(SPARSE):
        model.learn_one(x, number % 3)
    classifier.partial_fit(DENSE, np.arange(10) % 3)
    for x, row in zip(SPARSE, DENSE, strict=True):
        got = list(model.predict_proba_one({**x, "unheard": 3.0}).values())
        np.testing.assert_allclose(got, classifier.predict_proba([row])[0], atol=1e-6)


@pytest.mark.parametrize(("seen", "near"), [(12, 0.1), (40, 1e-4)])  # moments move up to the 30th example
def test_later_features_leave_what_was_learnt_and_are_learnt(seen: int, near: float):
    generator = np.random.default_rng(0)
    model = RiverClassifier(LEARNER)
    for number in range(seen):
        model.learn_one({"a": generator.normal() + 4 * (number % 2), "b": generator.normal()}, number % 2)
    queries = [{"a": 0.3, "b": 1.0}, {"a": 4.2}]
    expected = [model.predict_proba_one(query) for query in queries]
    before = model.classifier.snapshot()
    model.learn_one({"a": 0.0, "new": 6.0}, 2)
    for query, was in zip(queries, expected, strict=True):
        now = model.predict_proba_one(query)
        assert now[0] / now[1] == pytest.approx(was[0] / was[1], rel=near)
    assert model.predict_one({"a": 0.0, "new": 6.0}) == 2
    model.classifier.restore(before)
    assert [model.predict_proba_one(query) for query in queries] == expected


def test_without_the_adapter_the_learner_s_inputs_are_the_places():
    model = RiverClassifier(LEARNER, adapt=False)
    classifier = ContinualClassifier(LEARNER, adapt=False)
    for number in range(8):
        model.learn_one({f"feature {number}": 1.0}, number)
    classifier.fit(np.eye(8), range(8))
    for number in range(8):
        got = list(model.predict_proba_one({f"feature {number}": 1.0}).values())
        np.testing.assert_allclose(got, classifier.predict_proba(np.eye(8)[[number]])[0], atol=1e-6)
    with pytest.raises(
        InvalidValueError, match=r"9 features so far.*takes at most 8.*adapt=True.*FeatureHasher"
    ):
        model.learn_one({"one more": 1.0}, 0)
    assert model.classifier.n_samples_seen_ == 8


def test_a_missing_feature_is_taken_for_its_mean_if_that_is_asked():
    model, zero = (RiverClassifier(LEARNER, adapt=False, missing=missing) for missing in ("mean", "zero"))
    for each in (model, zero):
        for number, value in enumerate((2.0, 4.0, 9.0)):
            each.learn_one({"a": value, "b": float(number)}, number)
    assert model.predict_proba_one({"b": 1.0}) == model.predict_proba_one({"a": 5.0, "b": 1.0})
    assert zero.predict_proba_one({"b": 1.0}) == zero.predict_proba_one({"a": 0.0, "b": 1.0})
    with pytest.raises(InvalidValueError, match="`missing` must be 'zero' or 'mean', got 'median'"):
        RiverClassifier(LEARNER, missing="median")  # pyright: ignore[reportArgumentType]


def test_the_regressor_is_the_regressor():
    model, regressor = RiverRegressor(VECTORS), ContinualRegressor(VECTORS)
    assert model.predict_one({"a": 1.0}) == 0.0
    for number, x in enumerate(SPARSE):
        model.learn_one(dict(reversed(x.items())), number / 2)
    regressor.fit(DENSE, np.arange(10) / 2)
    for x, row in zip(SPARSE, DENSE, strict=True):
        assert model.predict_one(x) == pytest.approx(regressor.predict([row])[0], abs=1e-5)
    two = RiverRegressor(Learner(SequenceConfig(VectorEncoder(2), VectorTarget(2), d_model=16)))
    with pytest.raises(InvalidValueError, match="must answer with one number, got one of 2"):
        two.learn_one({"a": 1.0}, 0.5)


def test_river_is_not_needed():
    code = (
        "import sys; sys.modules['river'] = None; from mambacl.streams.river import RiverClassifier\n"
        "from mambacl import *; model = RiverClassifier(Learner(PrototypeConfig(VectorEncoder(2))))\n"
        "model.learn_one({'a': 1, 'b': 2}, 'x'); assert model.predict_one({'b': 1, 'a': 2}) == 'x'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
