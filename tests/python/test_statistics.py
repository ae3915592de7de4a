"""Intervals: against scipy's own, by their coverage of a known mean, and bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from mambacl import Interval, Scores, over_seeds, paired_difference, paired_over_seeds
from mambacl.errors import InvalidValueError, ShapeError


def scores(values: NDArray[np.float64]) -> Scores:
    return Scores(torch.from_numpy(values))


def half_width(values: NDArray[np.float64]) -> float:
    low, high = stats.t.interval(0.95, len(values) - 1, loc=values.mean(), scale=stats.sem(values))
    return float(high - low) / 2


@pytest.mark.parametrize("seeds", [2, 3, 5, 30])
def test_over_seeds_is_the_t_interval(seeds: int):
    values = np.random.default_rng(seeds).normal(0.9, 0.02, seeds)
    got = over_seeds(values.tolist())
    assert got.mean == pytest.approx(values.mean())
    assert got.half_width == pytest.approx(half_width(values))
    assert got.scope == f"over {seeds} seeds"


def test_three_seeds_by_the_table():
    """t(0.975, 2) = 4.303, the standard deviation is 1."""
    assert over_seeds([1.0, 2.0, 3.0]).half_width == pytest.approx(4.303 / np.sqrt(3), rel=1e-3)


def test_one_seed_tells_nothing_of_others():
    assert over_seeds([0.9]) == Interval(0.9, None, "over 1 seed")
    assert str(over_seeds([0.9])) == "0.900 (over 1 seed)"


def test_the_interval_covers_the_mean_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(0.5, 0.1, (2000, 3))
    intervals = [over_seeds(row.tolist()) for row in draws]
    covered = [i.half_width is not None and abs(i.mean - 0.5) <= i.half_width for i in intervals]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)  # four standard errors; 1.96 would cover .81


def test_a_paired_difference_is_that_of_the_episodes():
    generator = np.random.default_rng(0)
    difficulty = generator.uniform(0, 1, 50)
    a, b = difficulty + 0.1 + generator.normal(0, 0.01, 50), difficulty
    got = paired_difference(scores(a), scores(b))
    assert got.mean == pytest.approx((a - b).mean())
    assert got.half_width == pytest.approx(half_width(a - b))
    assert got.half_width < 0.2 * scores(a).interval  # the difficulty is gone
    assert got.scope == "over 50 episodes, given these two predictors"
    assert paired_difference(scores(b), scores(a)).mean == pytest.approx(-got.mean)


def test_paired_over_seeds_takes_one_number_a_seed():
    generator = np.random.default_rng(0)
    a, b = generator.uniform(0, 1, (4, 20)), generator.uniform(0, 1, (4, 20))
    got = paired_over_seeds([scores(row) for row in a], [scores(row) for row in b])
    means = (a - b).mean(1)
    assert got.mean == pytest.approx(means.mean())
    assert got.half_width == pytest.approx(half_width(means))
    assert got.scope == "over 4 seeds, paired"
    assert paired_over_seeds([scores(a[0])], [scores(b[0])]).half_width is None


def test_bad_input():
    two, three = scores(np.zeros(2)), scores(np.zeros(3))
    with pytest.raises(InvalidValueError, match="over_seeds: there must be at least one value, got none"):
        over_seeds([])
    with pytest.raises(ShapeError, match=r"paired_difference: .* of 2 episodes, as `a`, got 3"):
        paired_difference(two, three)
    with pytest.raises(ShapeError, match="paired_over_seeds: argument `b` must hold 1 seeds, as `a`, got 2"):
        paired_over_seeds([two], [two, two])
    with pytest.raises(ShapeError, match=r"paired_over_seeds: .* of 2 episodes, as `a`, got 3"):
        paired_over_seeds([two, two], [two, three])
    with pytest.raises(InvalidValueError, match="paired_over_seeds: there must be at least one value"):
        paired_over_seeds([], [])
