"""One safetensors file of named tensors and facts, with a digest of both; nothing is pickled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from mambacl import durable
from mambacl.errors import CheckpointError

FORMAT = 1
"""The version of the format; a newer one is refused."""

_KEY = "mambacl"  # the one key of the metadata: of several, the order in the file would be by chance


def pack(kind: str, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> bytes:
    """The bytes of a file.

    Args:
        kind: What it is a file of.
        facts: Values that JSON has.
        tensors: Of any device.

    Returns:
        The same bytes for the same content.
    """
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = {"format": FORMAT, "kind": kind, "facts": facts}
    header["sha256"] = _digest(header, whole)
    return safetensors.torch.save(whole, metadata={_KEY: json.dumps(header, sort_keys=True)})


def unpack(data: bytes, kind: str, where: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a file holds, checked whole.

    Args:
        data: Its bytes.
        kind: What it must be a file of.
        where: Its name, for messages.

    Returns:
        The facts, and the tensors on the CPU.

    Raises:
        CheckpointError: If the file is truncated or changed, of another kind, or its format newer than this
            version of mambacl.
    """
    try:
        tensors = safetensors.torch.load(data)
        header = _header(data)
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{where} is no file of mambacl, or damaged: {error!r}") from error
    written, got, facts = header.get("format"), header.get("kind"), header.get("facts")
    if isinstance(written, int) and written > FORMAT:
        raise CheckpointError(
            f"{where} must have a format of at most {FORMAT}, got {written}: a newer mambacl wrote it"
        )
    if got != kind:
        raise CheckpointError(f"{where} must be of a {kind}, got {got!r}")
    expected = header.pop("sha256", None)
    if written != FORMAT or not isinstance(facts, dict) or _digest(header, tensors) != expected:
        raise CheckpointError(f"{where} is damaged: its content does not have the sha256 that it names")
    return facts, tensors


def write(path: Path, data: bytes) -> None:
    """Writes a file, whole or not at all.

    Raises:
        CheckpointError: If it cannot be written; what was there is still there.
    """
    try:
        durable.write(path, data)
    except OSError as error:
        raise CheckpointError(f"`{path}` could not be written: {error}") from error


def read(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        CheckpointError: If it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"`{path}` cannot be read: {error}") from error


def _header(data: bytes) -> dict[str, Any]:
    length = int.from_bytes(data[:8], "little")  # safetensors has checked it
    header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_KEY])
    if not isinstance(header, dict):
        raise TypeError("its metadata are no table")
    return header


def _digest(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
