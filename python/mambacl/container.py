"""One safetensors file of named tensors and a JSON table of facts, with a digest; nothing is pickled.

The digest works as in the engine's files of learners and states (`src/files/container.rs`). Such files may be
inside this one, as tensors of bytes.
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
"""Version of the format; a file of a newer version is refused."""

LARGEST_HEADER = 100_000_000
"""Largest header that safetensors reads, in bytes."""

_BLANK = "0" * 64  # stands for the digest while it is computed
_LARGEST_HEADER = 16 << 20  # bytes, as in the engine
_KEY = "mambacl"  # the only key of the metadata; the order of several keys in the file would be random


def pack(kind: str, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> bytes:
    """Packs tensors and facts into the bytes of a file.

    Args:
        kind: Kind of content, which `unpack` checks.
        facts: Values that JSON can represent.
        tensors: Tensors by name, on any device.

    Returns:
        The bytes, which are the same for the same content.

    Raises:
        InvalidValueError: If the facts are too long for a file.
    """
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = {"format": FORMAT, "holds": kind, "facts": facts, "sha256": _BLANK}
    data = safetensors.torch.save(whole, metadata={_KEY: json.dumps(header)})
    end = _header_end(data)
    if end - 8 > LARGEST_HEADER:
        raise InvalidValueError(
            f"{kind}: labels and feature names must take at most {LARGEST_HEADER:,} bytes in a file, "
            f"got {end - 8:,}"
        )
    place = _digest_place(data, end, _BLANK)
    digest = hashlib.sha256(data).hexdigest().encode()
    return data[:place] + digest + data[place + len(digest) :]


def unpack(data: bytes, kind: str, where: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Unpacks the bytes of a file and checks all of them.

    Args:
        data: Bytes of the file.
        kind: Required kind of content.
        where: Name of the file, for messages.

    Returns:
        The facts, and the tensors on the CPU.

    Raises:
        FileError: If the file is truncated or changed, of another kind, or of a newer format than this
            version of mambacl reads.
    """
    try:
        tensors = safetensors.torch.load(data)
        end = _header_end(data)  # safetensors has checked the length
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
        RuntimeError,  # from torch, or too deep a recursion
    ) as error:
        raise FileError(f"{where} is not a file of mambacl, or is damaged: {error!r}") from error
    if type(written) is not int or written < 1:
        raise FileError(f"{where} must have a format number of at least 1, got {written!r}")
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
    """The offset of the first byte after the header of a safetensors file."""
    return 8 + int.from_bytes(data[:8], "little")


def _digest_place(data: bytes, end: int, digest: str) -> int:
    """The offset of the digest. It is the last value of the header; a label before it may look the same.

    Raises:
        ValueError: If the header does not contain it.
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
    """The bytes of an inner file as a tensor, (n,) uint8."""
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def as_bytes(tensor: Tensor, where: str) -> bytes:
    """The bytes of an inner file, from a tensor of `as_tensor`.

    Raises:
        FileError: If the tensor has another shape or dtype.
    """
    if tensor.ndim != 1 or tensor.dtype != torch.uint8:
        raise FileError(f"{where} must hold bytes, got {tensor.dtype} of shape {list(tensor.shape)}")
    return tensor.numpy().tobytes()
