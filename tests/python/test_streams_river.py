"""The classifier in River's habits, by River's own checks where it is installed."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mambacl import ClassTarget, ContinualClassifier, Learner, PrototypeConfig, VectorEncoder
from mambacl.errors import InvalidValueError
from mambacl.streams.river import RiverClassifier

LEARNER = Learner(PrototypeConfig(VectorEncoder(8), ClassTarget(16), d_model=32))


def river_checks() -> list[Callable[[Any], None]]:
    try:
        from river.checks import yield_checks
    except ImportError:
        return []
    model = RiverClassifier(LEARNER)
    # It reads long streams; that a state is fixed in size is tested in test_streams.py.
    left_out = {*model._unit_test_skips(), "check_bounded_memory_growth"}
    return [check for check in yield_checks(model) if check.__name__ not in left_out]


@pytest.mark.parametrize("check", river_checks(), ids=lambda check: check.__name__)
def test_river_is_content(check: Callable[[Any], None]):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # River's data sets read in ways that its dependencies deprecate
        check(RiverClassifier(LEARNER).clone())  # pyright: ignore[reportAttributeAccessIssue]


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


def test_features_that_come_or_go_are_refused_and_nothing_is_learnt():
    model = RiverClassifier(LEARNER)
    with pytest.raises(ValueError, match="could not convert"):
        model.learn_one({"colour": "red"}, 0)
    model.learn_one({"a": 1.0, "b": 2.0}, 0)  # the first that was learnt
    for ask in (model.predict_one, model.predict_proba_one, lambda x: model.learn_one(x, 1)):
        with pytest.raises(InvalidValueError, match="got without 'b' and another, 'c'"):
            ask({"a": 1.0, "c": 2.0})
    assert model.classifier.n_samples_seen_ == 1


def test_river_is_not_needed():
    code = (
        "import sys; sys.modules['river'] = None; from mambacl.streams.river import RiverClassifier\n"
        "from mambacl import *; model = RiverClassifier(Learner(PrototypeConfig(VectorEncoder(2))))\n"
        "model.learn_one({'a': 1, 'b': 2}, 'x'); assert model.predict_one({'b': 1, 'a': 2}) == 'x'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
