"""Which labels a classifier takes, and that those come back as they were given."""

from __future__ import annotations

import copy
import datetime
import enum
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mambacl import ContinualClassifier, Learner, PrototypeConfig, VectorEncoder
from mambacl.errors import InvalidValueError, MambaclError
from mambacl.streams.labels import LONGEST, Labels

LEARNER = Learner(PrototypeConfig(VectorEncoder(4), d_model=8)).eval()
X = np.eye(4)


class Colour(enum.IntEnum):
    RED = 1


class Text(str):
    pass


def copies(classifier: ContinualClassifier, path: Path) -> list[ContinualClassifier]:
    classifier.save(path)
    pickled = pickle.loads(pickle.dumps(classifier))
    return [ContinualClassifier.load(path), pickled, copy.deepcopy(classifier)]


numbers = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**64 - 1), st.integers(), st.booleans(), st.floats()
)
whole = st.one_of(st.integers(-(2**53), 2**53), st.integers(-(10**30), 10**30)).map(float)
texts = st.text(st.characters(exclude_categories=()), max_size=4)
sorts = [
    numbers,
    whole,
    texts,
    st.integers(0, 2**64 - 1),
    st.booleans(),
    st.one_of(numbers, texts, st.none()),
]


@given(data=st.data(), as_object=st.booleans())
@settings(deadline=None, max_examples=150)
def test_what_is_taken_comes_back(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, as_object: bool
):
    given_labels = data.draw(st.lists(data.draw(st.sampled_from(sorts)), min_size=1, max_size=4))
    y: Any = np.array([*given_labels, None], dtype=object)[:-1] if as_object else given_labels
    classifier = ContinualClassifier(LEARNER)
    try:
        classifier.partial_fit(X[: len(given_labels)], y)
    except MambaclError:
        return
    except ValueError:
        assert any(isinstance(label, float) and not np.isfinite(label) for label in given_labels)
        return
    expected = sorted(set(given_labels))
    answers = classifier.predict(X).tolist()
    assert set(answers) <= set(expected)
    path = tmp_path_factory.getbasetemp() / "labels"
    for one in (classifier, *copies(classifier, path)):
        assert one.classes_.tolist() == expected
        assert [type(label) for label in one.classes_.tolist()] == [type(label) for label in expected]
        assert one.classes_.dtype == classifier.classes_.dtype
        assert one.predict(X).tolist() == answers


@pytest.mark.parametrize(
    "label",
    ["0" * 64, "a" + "0" * 200, '"sha256": "' + "0" * 64, "", "\0", "end\0", "x" * 5000, "é\U0001f600"],
    ids=lambda label: repr(label[:12]),
)
def test_texts_that_a_file_might_mistake(tmp_path: Path, label: str):
    classifier = ContinualClassifier(LEARNER).partial_fit(X[:2], ["b", label])
    for one in copies(classifier, tmp_path / "stream"):
        assert one.classes_.tolist() == sorted(["b", label])
        assert one.predict(X[1:2]).tolist() == [label]
        assert one.partial_fit(X[:1], [label]).classes_.tolist() == sorted(["b", label])


@pytest.mark.parametrize(
    ("y", "told"),
    [
        (["a", "\ud800"], r"half a surrogate pair in '\\ud800'"),
        (["a", "x" * (LONGEST + 1)], "at most 262,144 characters, got 262,145"),
        ([1, True], "got bool, int: 1 and True"),
        ([1, 2.0], "got float, int: 1 and 2.0"),
        ([1, "a"], "got int, str: 1 and 'a'"),
        ([2**64, 1], f"got int: {2**64}"),
        ([-(2**63) - 1, 1], f"got int: {-(2**63) - 1}"),
        ([-1, 2**63], "do not go together"),
        (["a", None], "got NoneType: None"),
        ([b"a", b"b"], "got bytes: b'a'"),
        ([datetime.date(2020, 1, 1)] * 2, "got date"),
        (np.array(["2020", "2021"], "M8[D]"), "got datetime64"),
        (np.array([1, 2], "m8[s]"), "got timedelta64"),
        (np.array([1, 2], np.longdouble), "got longdouble"),
        ([np.longdouble(1)] * 2, "got longdouble"),
        ([Text("a"), "b"], "got Text: 'a'"),
        ([Colour.RED, 2], "got Colour"),
        ([{}, {}], "got dict"),
        ([{1}, {2}], "got set"),
        ([0.0, 1.5], "got float: 1.5"),
    ],
)
def test_what_is_refused_is_named_with_the_rule(y: Any, told: str):
    classifier = ContinualClassifier(LEARNER)
    with pytest.raises(InvalidValueError, match=told) as raised:
        classifier.partial_fit(X[:2], y)
    assert (
        "abels must be" in str(raised.value)
        or "abels of 2^63" in str(raised.value)
        or "label must" in str(raised.value)
    )
    assert not hasattr(classifier, "classes_")


@pytest.mark.parametrize(
    ("first", "second", "dtype", "expected"),
    [
        (np.array([1, 2]), np.array([3, 4], np.uint64), np.int64, [1, 2, 3, 4]),
        (np.array([1, 2]), np.array([3, 2**64 - 1], np.uint64), np.uint64, [1, 2, 3, 2**64 - 1]),
        (np.array([-1, 2], np.int8), np.array([3, 4], np.uint64), np.int64, [-1, 2, 3, 4]),
        (np.array([1, 2], np.int8), np.array([3, 300]), np.int64, [1, 2, 3, 300]),
        ([np.uint64(1), np.int64(2)], [np.int8(3), np.uint64(4)], np.int64, [1, 2, 3, 4]),
        (torch.tensor([1, 2], dtype=torch.uint8), [3, 4], np.int64, [1, 2, 3, 4]),
        (np.array(["a", "b"]), np.array(["cc", "d"]), "U2", ["a", "b", "cc", "d"]),
        (np.array([1.0, 2.0], "f2"), np.array([3.0, 4.0]), np.float64, [1.0, 2.0, 3.0, 4.0]),
    ],
)
def test_labels_of_one_sort_and_many_dtypes(first: Any, second: Any, dtype: Any, expected: list[Any]):
    classifier = ContinualClassifier(LEARNER).partial_fit(X[:2], first).partial_fit(X[2:], second)
    assert classifier.classes_.dtype == np.dtype(dtype)
    assert [(type(label), label) for label in classifier.classes_.tolist()] == [
        (type(label), label) for label in expected
    ]
    assert set(classifier.predict(X).tolist()) <= set(expected)


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ([1], [2.0], "must be integers, as earlier labels, got floats: 2.0"),
        ([1], [True], "must be integers, as earlier labels, got bools: True"),
        ([1.0], [2], "must be floats, as earlier labels, got integers: 2"),
        (["a"], [2], "must be strings, as earlier labels, got numbers: 2"),
        ([-1], np.array([2**63], np.uint64), "do not go together"),
    ],
)
def test_another_sort_in_mid_stream_is_refused(first: Any, second: Any, told: str):
    classifier = ContinualClassifier(LEARNER).partial_fit(X[:1], first)
    before = classifier.predict_proba(X)
    for call in (
        lambda: classifier.partial_fit(X[1:2], second),
        lambda: classifier.partial_fit(X[1:2], first, classes=second),
    ):
        with pytest.raises(InvalidValueError, match=re.escape(told)):
            call()
    assert classifier.classes_.tolist() == first
    np.testing.assert_array_equal(classifier.predict_proba(X), before)


def test_labels_of_a_file_take_no_more_room_than_they_need():
    seen = torch.tensor([[True, True]])
    assert Labels.stored(("a", "b"), "<U262144", seen, "it").classes.nbytes == 8
