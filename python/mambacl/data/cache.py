"""A tensor that takes minutes to compute, kept in a file of the user's cache folder.

Files are those of safetensors, with a digest that is checked whenever one is read.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import platformdirs
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mambacl import durable

_NAME = "tensor"
_DIGEST = "sha256"
_DTYPES = {torch.uint8: "U8", torch.float16: "F16", torch.float32: "F32"}

logger = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Where files are kept: the environment variable `MAMBACL_CACHE`, or the user's cache folder."""
    return Path(os.environ.get("MAMBACL_CACHE") or platformdirs.user_cache_dir("mambacl"))


def key(depends_on: Mapping[str, Any]) -> str:
    """What a file's name tells of all that its tensor depends on, values of JSON: 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:16]


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
    kept = _kept(path)
    if kept is not None:
        return kept
    tensor = compute().contiguous()
    try:
        _write(path, tensor.shape, tensor.dtype, [tensor])
    except OSError as error:
        _warn_of(path, error)
    return tensor


def cached_rows(
    name: str, shape: Sequence[int], dtype: torch.dtype, compute: Callable[[], Iterable[Tensor]]
) -> Tensor:
    """The same for a tensor that may be larger than the memory: it is computed and written some rows at a
    time, and then read from the file.

    Args:
        name: Of the file.
        shape: Of the tensor.
        dtype: One of uint8, float16, float32.
        compute: Called without arguments if there is no good file; the tensor's rows, in order, some at a
            time. If the file cannot be written they are computed again, in memory.

    Returns:
        As `cached` does.
    """
    path = cache_folder() / name
    kept = _kept(path)
    if kept is not None:
        return kept
    try:
        _write(path, shape, dtype, compute())
        return _read(path)
    except OSError as error:
        _warn_of(path, error)
    return torch.cat([torch.empty(0, *shape[1:], dtype=dtype), *compute()])


def _kept(path: Path) -> Tensor | None:
    """The tensor of a file, or None if there is no good one."""
    try:
        return _read(path)
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError, ValueError) as error:
        logger.warning("the cached file %s is damaged and computed again: %s", path, error)
        return None


def _warn_of(path: Path, error: OSError) -> None:
    logger.warning("the file %s cannot be kept, the next run computes it again: %s", path, error)


def _read(path: Path) -> Tensor:
    with safe_open(path, framework="pt") as file:
        expected = (file.metadata() or {}).get(_DIGEST)
        tensor: Tensor = file.get_tensor(_NAME)
    if (got := hashlib.sha256(_bytes(tensor)).hexdigest()) != expected:
        raise ValueError(f"its sha256 must be {expected}, got {got}")
    return tensor


def _write(path: Path, shape: Sequence[int], dtype: torch.dtype, parts: Iterable[Tensor]) -> None:
    """Writes the rows as they come. The digest stands before them and is known after them."""
    digest = hashlib.sha256()
    header = _header(shape, dtype, digest.hexdigest())
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with durable.writing(path) as file:
        file.write(header)
        for part in parts:
            contents = _bytes(part.contiguous())
            digest.update(contents)
            file.write(contents)
            written += len(part)
        assert written == shape[0], f"{written} rows instead of {shape[0]}"
        file.seek(0)
        file.write(_header(shape, dtype, digest.hexdigest()))


def _header(shape: Sequence[int], dtype: torch.dtype, digest: str) -> bytes:
    """What a file of safetensors begins with: a size, and JSON padded to eight bytes."""
    tensor: dict[str, Any] = {
        "dtype": _DTYPES[dtype],
        "shape": list(shape),
        "data_offsets": [0, math.prod(shape) * dtype.itemsize],
    }
    text = json.dumps({"__metadata__": {_DIGEST: digest}, _NAME: tensor}).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.view(torch.uint8).numpy().data
