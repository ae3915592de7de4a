"""Features of any number and scale: the running moments and the projection."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mambacl import ContinualClassifier, Learner, PrototypeConfig, VectorEncoder
from mambacl.streams.adapter import LIMIT, SETTLED, Adapter
from mambacl.streams.stream import OPENING

X = torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 20 + 1000


def by_hand(x: Tensor, moments_of: Tensor, projection: Tensor) -> Tensor:
    """The equation, with numpy's moments of all examples at once."""
    array = moments_of.numpy()
    deviation = array.std(0)
    scaled = (x.numpy() - array.mean(0)) / np.where(deviation > 0, deviation, 1)
    return torch.from_numpy(scaled.clip(-LIMIT, LIMIT)) @ projection.double()


def test_each_example_is_read_by_the_moments_up_to_it_until_they_settle():
    assert len(X) > SETTLED
    adapter = Adapter.drawn(3, 5, seed=1)
    outputs, after = adapter.reading(X)
    for i in range(len(X)):
        expected = by_hand(X[i : i + 1], X[: min(i + 1, SETTLED)], adapter.projection)
        torch.testing.assert_close(outputs[i : i + 1], expected)
    assert after.count == len(X)
    torch.testing.assert_close(after.apply(X * 2), by_hand(X * 2, X[:SETTLED], adapter.projection))


@given(
    offset=st.floats(-1e8, 1e8), scale=st.floats(1e-3, 1e3), pieces=st.lists(st.integers(1, 9), max_size=5)
)
@settings(deadline=None, max_examples=50)
def test_in_pieces_as_at_once(offset: float, scale: float, pieces: list[int]):
    x = (X - 1000) / 20 * scale + offset
    whole, after = Adapter.drawn(3, 5, seed=1).reading(x)
    adapter, outputs, start = Adapter.drawn(3, 5, seed=1), [], 0
    for size in [*pieces, len(x)]:
        if start < len(x):
            part, adapter = adapter.reading(x[start : start + size])
            outputs.append(part)
            start += size
    torch.testing.assert_close(torch.cat(outputs), whole, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(adapter.mean, after.mean)
    torch.testing.assert_close(adapter.squares, after.squares, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("features", "outputs"), [(3, 8), (8, 8), (20, 8), (1, 4), (4, 1)])
def test_the_projection_is_orthogonal_and_keeps_the_variance(features: int, outputs: int):
    projection = Adapter.drawn(features, outputs, seed=0).projection.double()
    assert projection.shape == (features, outputs)
    small = min(features, outputs)
    gram = projection @ projection.T if features <= outputs else projection.T @ projection
    torch.testing.assert_close(gram, torch.eye(small).double() * outputs / small, rtol=1e-5, atol=1e-5)
    assert projection.square().sum() == pytest.approx(outputs)  # the summed variance of what is white
    assert not torch.equal(projection, Adapter.drawn(features, outputs, seed=1).projection.double())


def test_a_feature_that_never_changed_is_no_noise():
    x = torch.full((30, 2), 0.1, dtype=torch.float64)
    _, adapter = Adapter.drawn(2, 2, seed=0).reading(x)
    torch.testing.assert_close(adapter.apply(x), torch.zeros(30, 2, dtype=torch.float64))


def test_queries_change_nothing_and_scale_and_offset_do_not_matter():
    learner = Learner(PrototypeConfig(VectorEncoder(16)))
    x, y = X.numpy(), np.arange(40) % 3
    classifier = ContinualClassifier(learner).fit(x, y)
    before = classifier.predict_proba(x)
    classifier.predict(x * 100)
    np.testing.assert_array_equal(classifier.predict_proba(x), before)
    moved = ContinualClassifier(learner).fit(x * 7 - 90, y)
    np.testing.assert_allclose(moved.predict_proba(x * 7 - 90), before, atol=1e-4)


def test_the_first_examples_are_read_again():
    """One of each class is enough, though the moments of the first make it zero."""
    learner = Learner(PrototypeConfig(VectorEncoder(16)))
    x = np.array([[1000.0, 1.0], [1000.0, 5.0], [3000.0, 1.0]])
    classifier = ContinualClassifier(learner)
    for row, label in zip(x, "abc", strict=True):
        classifier.partial_fit([row], [label])
    assert classifier.predict(x).tolist() == ["a", "b", "c"]
    assert classifier.n_samples_seen_ == 3 < OPENING


def test_adapted_or_not():
    learner = Learner(PrototypeConfig(VectorEncoder(3)))
    y = np.arange(40) % 3
    plain, asked = ContinualClassifier(learner), ContinualClassifier(learner, adapt=True)
    assert plain.fit(X, y).state_nbytes_ == plain.state_.nbytes
    assert asked.fit(X, y).state_nbytes_ > asked.state_.nbytes
