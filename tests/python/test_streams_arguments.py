"""Whatever is given to the classifier: it learns and answers, or raises what it says and stays as it was."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mambacl import ContinualClassifier
from small_learners import DIM, small_learner

LEARNER = small_learner()
X = np.random.default_rng(0).normal(size=(12, DIM))

shapes = st.one_of(
    st.just((3, DIM)),
    st.tuples(st.integers(0, 4), st.integers(0, 7)),
    hnp.array_shapes(max_dims=4, max_side=4),
)
dtypes = st.sampled_from(["f2", "f4", "f8", "i1", "i8", "u8", "?", "c8", "U3", "O", "M8[s]", "S2"])
arrays = st.builds(lambda d, s: (d, s), dtypes, shapes).flatmap(
    lambda given: hnp.arrays(
        given[0], given[1], elements=st.sampled_from([None, "a", 3, 1.5]) if given[0] == "O" else None
    )
)
inputs = st.one_of(
    arrays,
    arrays.map(lambda array: array.tolist()),
    hnp.arrays("f4", shapes).map(lambda array: torch.tensor(array)),
    st.sampled_from([None, 3, "text", {}, [], [[]], object()]),
)
labels = st.one_of(
    inputs,
    st.lists(
        st.one_of(st.integers(), st.text(max_size=3), st.booleans(), st.floats(), st.none()), max_size=4
    ),
    st.lists(st.integers(0, 5), min_size=3, max_size=3),
)


@given(x=inputs, y=labels, classes=st.one_of(st.none(), labels), fresh=st.booleans())
@settings(deadline=None, max_examples=300)
def test_only_documented_errors(x: Any, y: Any, classes: Any, fresh: bool):
    classifier = ContinualClassifier(LEARNER)
    if not fresh:
        classifier.fit(X, np.arange(12) % 3)
    before = dict(vars(classifier))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy and scikit-learn warn of casts, ragged lists, column vectors
        try:
            classifier.partial_fit(x, y, classes)
        except (ValueError, TypeError):
            assert vars(classifier) == before
        else:
            assert classifier.n_samples_seen_ >= 1
            assert classifier.predict_proba(x).shape == (len(x), len(classifier.classes_))


@given(x=inputs)
@settings(deadline=None, max_examples=150)
def test_queries(x: Any):
    classifier = ContinualClassifier(LEARNER).fit(X, np.arange(12) % 3)
    before = dict(vars(classifier))
    for ask in (classifier.predict, classifier.unseen_proba):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.suppress(ValueError, TypeError):
                assert len(ask(x)) == len(x)
    assert vars(classifier) == before
