"""Timing of things beside one another."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Times:
    """Seconds of several things, measured in turns.

    Attributes:
        seconds: By name, one for each turn.
    """

    seconds: Mapping[str, list[float]]

    def median(self, name: str) -> float:
        """The median seconds of one thing."""
        return statistics.median(self.seconds[name])

    def ratio(self, name: str, other: str) -> float:
        """How many times as long one takes as another: the median of the ratios within each turn, so that
        what slows the machine for a while slows both."""
        pairs = zip(self.seconds[name], self.seconds[other], strict=False)
        return statistics.median(one / two for one, two in pairs)


def interleaved(cases: Mapping[str, Callable[[], object]], repeats: int, budget: float = 60.0) -> Times:
    """Runs each case once unmeasured, then all in turns.

    Args:
        cases: What to run, by name.
        repeats: Turns.
        budget: Seconds after which no further turn of a case begins; each has at least one.

    Returns:
        The seconds of each.
    """
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    warm = {name: _timed(case) for name, case in cases.items()}
    for turn in range(repeats):
        for name, case in cases.items():
            if turn == 0 or warm[name] + sum(seconds[name]) < budget:
                seconds[name].append(_timed(case))
    return Times(seconds)


def _timed(case: Callable[[], object]) -> float:
    began = time.perf_counter()
    case()
    return time.perf_counter() - began
