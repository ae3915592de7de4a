"""Numbers on their way from a device to the host."""

from __future__ import annotations

import torch
from torch import Tensor


class Readback:
    """Numbers that the host will read later. The copy is queued now, behind what computes them: whoever reads
    waits for it alone, and not for what was queued since.

    Args:
        numbers: Of any device, one-dimensional.

    Examples:
        >>> Readback(torch.tensor([0.5, 2.0])).read()
        [0.5, 2.0]
    """

    def __init__(self, numbers: Tensor) -> None:
        self._numbers = numbers.to("cpu", non_blocking=True)  # into pinned memory
        self._copied: torch.cuda.Event | None = None
        if numbers.is_cuda:
            self._copied = torch.cuda.Event()
            self._copied.record(torch.cuda.current_stream(numbers.device))

    def read(self) -> list[float]:
        """The numbers, when they are here."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._numbers.tolist()
