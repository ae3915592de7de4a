"""One safetensors file of named tensors and facts, sealed by a digest; nothing is pickled.

It is sealed as the engine's files of learners and of states are (`src/files/container.rs`), and holds such
files as tensors of bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from mambacl import reading
from mambacl.errors import FileError, InvalidValueError

FORMAT = 1
"""The version of the format; a newer one is refused."""

LARGEST_HEADER = 100_000_000
"""Bytes of the largest header that safetensors reads."""

_BLANK = "0" * 64  # where the digest stands while it is computed
_LARGEST_HEADER = 16 << 20  # bytes, as in the engine
_KEY = "mambacl"  # the one key of the metadata: of several, the order in the file would be by chance


def pack(kind: str, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> bytes:
    """The bytes of a file.

    Args:
        kind: What it holds.
        facts: Values that JSON has.
        tensors: Of any device.

    Returns:
        The same bytes for the same content.

    Raises:
        InvalidValueError: If the facts are too long for a file.
    """
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = {"format": FORMAT, "holds": kind, "facts": facts, "sha256": _BLANK}
    data = safetensors.torch.save(whole, metadata={_KEY: json.dumps(header)})
    end = _header_end(data)
    if end - 8 > LARGEST_HEADER:
        raise InvalidValueError(
            f"{kind}: labels and names of features must take at most {LARGEST_HEADER:,} bytes in a file, "
            f"got {end - 8:,}"
        )
    place = _digest_place(data, end, _BLANK)
    digest = hashlib.sha256(data).hexdigest().encode()
    return data[:place] + digest + data[place + len(digest) :]


def unpack(data: bytes, kind: str, where: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a file holds, checked whole.

    Args:
        data: Its bytes.
        kind: What it must hold.
        where: Its name, for messages.

    Returns:
        The facts, and the tensors on the CPU.

    Raises:
        FileError: If the file is truncated or changed, of something else, or its format newer than this
            version of mambacl.
    """
    try:
        tensors = safetensors.torch.load(data)
        end = _header_end(data)  # safetensors has checked it
        header = reading.parse_json(reading.parse_json(data[8:end])["__metadata__"][_KEY])
        written, held, said = header["format"], header["holds"], header["sha256"]
        place = _digest_place(data, end, said)
    except (
        SafetensorError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RuntimeError,  # of torch, or a recursion
    ) as error:
        raise FileError(f"{where} is no file of mambacl, or damaged: {error!r}") from error
    if type(written) is not int or written < 1:
        raise FileError(f"{where} must have the number of a format, got {written!r}")
    if written > FORMAT:
        raise FileError(
            f"{where} must have a format of at most {FORMAT}, got {written}: a newer mambacl wrote it"
        )
    blank = data[:place] + _BLANK.encode() + data[place + len(said) :]
    if (got := hashlib.sha256(blank).hexdigest()) != said:
        raise FileError(f"{where} is damaged: its sha256 must be {said}, got {got}")
    if held != kind:
        raise FileError(f"{where} must hold a {kind}, got {held!r}")
    if not isinstance(facts := header.get("facts"), dict):
        raise FileError(f"{where} must hold a table of facts, got {type(facts).__name__}")
    return facts, tensors


def _header_end(data: bytes) -> int:
    """Where the header of a safetensors file ends."""
    return 8 + int.from_bytes(data[:8], "little")


def _digest_place(data: bytes, end: int, digest: str) -> int:
    """Where the digest stands: it is the last fact of the header, and a label may look like one before it.

    Raises:
        ValueError: If it is not there.
    """
    return data.rindex(digest.encode(), 8, end)


def holds(data: bytes) -> object:
    """What a file says that it holds; None for what is no such file. Nothing is checked."""
    try:
        length = int.from_bytes(data[:8], "little")
        if length > _LARGEST_HEADER:
            return None
        header = reading.parse_json(reading.parse_json(data[8 : 8 + length])["__metadata__"][_KEY])
        return header["holds"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def as_tensor(data: bytes) -> Tensor:
    """A file inside this one, (n,) uint8."""
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def as_bytes(tensor: Tensor, where: str) -> bytes:
    """A file inside this one.

    Raises:
        FileError: If the tensor is none of `as_tensor`.
    """
    if tensor.ndim != 1 or tensor.dtype != torch.uint8:
        raise FileError(f"{where} must hold bytes, got {tensor.dtype} of shape {list(tensor.shape)}")
    return tensor.numpy().tobytes()
