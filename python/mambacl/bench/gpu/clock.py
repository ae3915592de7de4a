"""Timing on a device."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

Case = Callable[[], object]


class Clock:
    """Times cases on a device; before each the cache is filled with something else.

    Args:
        device: That the cases work on.
        repeats: Of each case, after two that are not measured.
    """

    def __init__(self, device: torch.device, repeats: int) -> None:
        self._device, self._repeats = device, repeats
        # Larger than any L2 there is.
        self._other = torch.empty((1 << 28) if device.type == "cuda" else 1, dtype=torch.uint8, device=device)

    def seconds(self, case: Case) -> float:
        """The median seconds of a case."""
        for _ in range(2):
            case()
        return statistics.median(self._once(case) for _ in range(self._repeats))

    def _once(self, case: Case) -> float:
        self._other.zero_()
        if self._device.type != "cuda":
            began = time.perf_counter()
            case()
            return time.perf_counter() - began
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        with torch.cuda.device(self._device):
            start.record()
            case()
            end.record()
            end.synchronize()
        return start.elapsed_time(end) / 1e3
