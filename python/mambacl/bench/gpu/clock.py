"""Timing on a device."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

Case = Callable[[], object]

_BUSY = 4096
"""Rows of a matrix product that takes a GPU some milliseconds."""


class Clock:
    """Times cases on a device; before each the cache is filled with something else.

    Args:
        device: That the cases work on.
        repeats: Of each case, after two that are not measured.
    """

    def __init__(self, device: torch.device, repeats: int) -> None:
        self._device, self._repeats = device, repeats
        on_gpu = device.type == "cuda"
        # Larger than any L2 there is; read and not written, or the case would pay for the writing back.
        self._other = torch.zeros((1 << 26) if on_gpu else 1, device=device)
        self._matrix, self._product = (
            torch.zeros([_BUSY if on_gpu else 1] * 2, device=device) for _ in range(2)
        )
        awake = time.perf_counter() + 0.5  # an idle GPU's clock is slow
        while on_gpu and time.perf_counter() < awake:
            self._multiply()
            torch.cuda.synchronize(device)

    def seconds(self, case: Case, *, kernels_alone: bool = False) -> float:
        """The median seconds of a case.

        Args:
            case: To time.
            kernels_alone: Whether the device is kept busy until the host has launched the case, so that short
                kernels are not timed by the host's pace.
        """
        for _ in range(2):
            case()
        return statistics.median(self._once(case, kernels_alone) for _ in range(self._repeats))

    def _once(self, case: Case, kernels_alone: bool) -> float:
        if kernels_alone:
            self._multiply()
        self._other.sum()
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

    def _multiply(self) -> None:
        torch.mm(self._matrix, self._matrix, out=self._product)
