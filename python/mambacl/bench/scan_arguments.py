"""What a Mamba block gives its scan."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def scan_arguments(
    batch: int, length: int, d_inner: int, d_state: int, device: torch.device
) -> dict[str, Any]:
    """Those that have numbers, float32.

    Args:
        batch: Sequences.
        length: Of each.
        d_inner: Channels.
        d_state: States of a channel.
        device: Of the tensors.
    """
    generator = torch.Generator(device).manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=device)

    return {
        "u": normal(batch, length, d_inner),
        "delta": normal(batch, length, d_inner),
        "A": -normal(d_inner, d_state).exp(),
        "B": normal(batch, length, d_state),
        "C": normal(batch, length, d_state),
        "D": normal(d_inner),
        "z": normal(batch, length, d_inner),
        "delta_bias": normal(d_inner),
    }
