"""Telling one version of weights from another."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import nn

from mambacl.errors import DataError


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


def checked(encoder: str, file: Path, sha256: str) -> bytes:
    """A file of a package that another one published, if it is the one we know.

    Args:
        encoder: Who reads it, for messages.
        file: Of weights, say.
        sha256: What it must have, in hexadecimal.

    Returns:
        Its contents.

    Raises:
        DataError: If it cannot be read, is damaged, or is another version's.
    """
    try:
        contents = file.read_bytes()
    except OSError as error:
        raise DataError(f"encoder {encoder}: a file of its package cannot be read: {error}") from error
    if (got := hashlib.sha256(contents).hexdigest()) != sha256:
        raise DataError(
            f"encoder {encoder}: {file} is damaged or of another version: its sha256 must be {sha256}, "
            f"got {got}"
        )
    return contents
