"""Calibration: bins and their error against numpy, sums of parts, and bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mambacl import Calibration
from mambacl.errors import DtypeError, InvalidValueError, ShapeError

ANSWERS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


def by_bin(answers: list[tuple[float, bool]], bins: int) -> list[list[tuple[float, bool]]]:
    """The answers of each half-open bin (low, high]; 0 is in the first."""
    found: list[list[tuple[float, bool]]] = []
    for m in range(bins):
        low, high = m / bins, (m + 1) / bins
        found.append([a for a in answers if low < a[0] <= high or (m == 0 and a[0] == 0)])
    return found


def of(answers: list[tuple[float, bool]], bins: int = 15) -> Calibration:
    confidences, right = zip(*answers, strict=True)
    return Calibration.of(torch.tensor(confidences, dtype=torch.float64), torch.tensor(right), bins)


def numbers(values: torch.Tensor) -> NDArray[np.float64]:
    return values.double().numpy()


@given(ANSWERS, st.integers(1, 20))
def test_bins_and_error_are_those_of_a_loop(answers: list[tuple[float, bool]], bins: int):
    got, want, error = of(answers, bins), by_bin(answers, bins), 0.0
    assert got.total == len(answers)
    for m, members in enumerate(want):
        assert got.count[m] == len(members)
        if not members:
            assert got.confidence[m].isnan()
            assert got.accuracy[m].isnan()
            continue
        confidence = np.mean([c for c, _ in members])
        accuracy = np.mean([r for _, r in members])
        assert got.confidence[m].item() == pytest.approx(confidence)
        assert got.accuracy[m].item() == pytest.approx(accuracy)
        error += len(members) / len(answers) * abs(accuracy - confidence)
    assert got.expected_calibration_error == pytest.approx(error, abs=1e-12)
    assert 0 <= got.expected_calibration_error <= 1


@given(ANSWERS, ANSWERS)
def test_a_sum_is_the_calibration_of_both(one: list[tuple[float, bool]], other: list[tuple[float, bool]]):
    got, want = of(one) + of(other), of(one + other)
    for name in ("count", "right", "confidence_sum"):
        np.testing.assert_allclose(numbers(getattr(got, name)), numbers(getattr(want, name)))


def test_a_calibrated_and_an_overconfident_learner():
    right = torch.tensor([True] * 8 + [False] * 2)
    assert Calibration.of(torch.full((10,), 0.8), right).expected_calibration_error == pytest.approx(
        0, abs=1e-6
    )
    assert Calibration.of(torch.ones(10), right).expected_calibration_error == pytest.approx(0.2)


def test_edges_belong_to_the_bin_below():
    edges = torch.arange(16, dtype=torch.float64) / 15
    got = Calibration.of(edges, torch.ones(16, dtype=torch.bool))
    assert got.count.tolist() == [2] + [1] * 14
    assert got.count.dtype == torch.int64
    assert got.confidence_sum.dtype == torch.float64


def test_any_shape_and_precision():
    confidences, right = torch.rand(3, 4, generator=torch.Generator().manual_seed(0)), torch.ones(3, 4) > 0
    flat = Calibration.of(confidences.double().flatten(), right.flatten())
    assert torch.equal(Calibration.of(confidences, right).confidence_sum, flat.confidence_sum)


def test_no_answers():
    none = Calibration.of(torch.zeros(0), torch.zeros(0, dtype=torch.bool))
    assert none.total == 0
    assert np.isnan(none.expected_calibration_error)
    assert (none + of([(0.5, True)])).total == 1


@pytest.mark.parametrize(
    ("confidences", "right", "bins", "error", "message"),
    [
        (torch.zeros(2), torch.zeros(3) > 0, 15, ShapeError, r"`right` must have shape \(2,\)"),
        (torch.zeros(2, dtype=torch.int64), torch.zeros(2) > 0, 15, DtypeError, "must be floating point"),
        (torch.zeros(2), torch.zeros(2), 15, DtypeError, "`right` must be bool, got torch.float32"),
        (torch.tensor([0.5, 1.5]), torch.zeros(2) > 0, 15, InvalidValueError, "from 0 to 1, got 1.5"),
        (torch.tensor([-0.5, 0.5]), torch.zeros(2) > 0, 15, InvalidValueError, "from 0 to 1, got -0.5"),
        (torch.tensor([torch.nan]), torch.zeros(1) > 0, 15, InvalidValueError, "from 0 to 1, got nan"),
        (torch.zeros(2), torch.zeros(2) > 0, 0, InvalidValueError, "`bins` must be at least 1, got 0"),
    ],
)
def test_bad_input(confidences: Any, right: Any, bins: int, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        Calibration.of(confidences, right, bins)


def test_other_bins_do_not_add():
    with pytest.raises(ShapeError, match="as many bins, got 15 and 10"):
        of([(0.5, True)]) + of([(0.5, True)], 10)
    with pytest.raises(ShapeError, match="must have shape"):
        Calibration(torch.zeros(3), torch.zeros(3), torch.zeros(4))
