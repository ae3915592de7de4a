"""Telling one version of weights, and of the settings beside them, from another."""

from __future__ import annotations

import hashlib

import torch
from torch import nn


def of_module(module: nn.Module) -> str:
    """The sha256 of a module's parameters and buffers, with their names, dtypes and shapes.

    Args:
        module: Its order of definition does not matter.

    Returns:
        64 hexadecimal digits.

    Examples:
        >>> layer = nn.Linear(2, 3)
        >>> before = of_module(layer)
        >>> _ = nn.init.zeros_(layer.bias)
        >>> before == of_module(layer), len(before)
        (False, 64)
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def of_text(text: str) -> str:
    """The sha256 of a text, such as the settings that inputs are prepared by.

    Args:
        text: Any.

    Returns:
        64 hexadecimal digits.

    Examples:
        >>> of_text("mean 0.5")[:8]
        '632e5e9e'
    """
    return hashlib.sha256(text.encode()).hexdigest()
