"""A tensor that takes minutes to compute, kept in a file of the user's cache folder."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

import platformdirs
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mambacl import durable

_NAME = "tensor"
_DIGEST = "sha256"

logger = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Where files are kept: the environment variable `MAMBACL_CACHE`, or the user's cache folder."""
    return Path(os.environ.get("MAMBACL_CACHE") or platformdirs.user_cache_dir("mambacl"))


def cached(name: str, compute: Callable[[], Tensor]) -> Tensor:
    """The tensor of a file in the cache folder, computed and kept if it is not there.

    Whatever the tensor depends on must be in the name. A file appears at once and whole: a process that is
    killed leaves none under this name, and of two that compute the same the later one wins. A damaged file
    is computed again, and a folder that cannot be written costs a warning.

    Args:
        name: Of the file.
        compute: Called without arguments if there is no good file.

    Returns:
        The tensor, memory-mapped if it comes from the file; changing it changes no file.
    """
    path = cache_folder() / name
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    except (SafetensorError, OSError, ValueError) as error:
        logger.warning("the cached file %s is damaged and computed again: %s", path, error)
    tensor = compute().contiguous()
    try:
        _write(path, tensor)
    except OSError as error:
        logger.warning("the file %s cannot be kept, the next run computes it again: %s", path, error)
    return tensor


def _read(path: Path) -> Tensor:
    with safe_open(path, framework="pt") as file:
        expected = (file.metadata() or {}).get(_DIGEST)
        tensor: Tensor = file.get_tensor(_NAME)
    if (got := _digest(tensor)) != expected:
        raise ValueError(f"its sha256 must be {expected}, got {got}")
    return tensor


def _write(path: Path, tensor: Tensor) -> None:
    contents = safetensors.torch.save({_NAME: tensor}, metadata={_DIGEST: _digest(tensor)})
    path.parent.mkdir(parents=True, exist_ok=True)
    durable.write(path, contents)


def _digest(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.view(torch.uint8).numpy().data).hexdigest()
