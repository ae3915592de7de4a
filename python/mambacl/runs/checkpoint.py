"""Checkpoints: a folder of safetensors and one JSON file, whole or not there at all.

A checkpoint is written under another name, flushed to the disk, and renamed once; whoever kills the process
leaves those before it as they were. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mambacl import durable, reading
from mambacl.errors import CheckpointError

FORMAT = 1
"""The version of the format; a newer one is refused."""

_HEADER = "checkpoint.json"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        step: Training steps done.
        parts: Groups of named tensors, "model" among them.
        facts: Values that JSON has.
    """

    step: int
    parts: Mapping[str, Mapping[str, Tensor]]
    facts: Mapping[str, Any]


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint. Where there is one of that name it stays: training is exact, so it is the same.

    Args:
        folder: Its name; the folder above it must exist.
        checkpoint: What to write; tensors of any device.

    Raises:
        CheckpointError: If a file cannot be written; nothing of that name is left then.
    """
    if folder.exists():
        return
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        digests: dict[str, str] = {}
        for name, tensors in checkpoint.parts.items():
            data = save({key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()})
            digests[name] = hashlib.sha256(data).hexdigest()
            durable.write_through(aside / f"{name}.safetensors", data)
        header = {
            "format": FORMAT,
            "step": checkpoint.step,
            "facts": dict(checkpoint.facts),
            "sha256": digests,
        }
        durable.write_through(aside / _HEADER, (json.dumps(header, indent=1) + "\n").encode())
        durable.flush_folder(aside)
        aside.rename(folder)
        durable.flush_folder(folder.parent)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise CheckpointError(f"checkpoint: `{folder}` could not be written: {error}") from error


def read(folder: Path) -> Checkpoint:
    """Reads a checkpoint and checks it whole.

    Args:
        folder: Its name.

    Returns:
        What it holds, on the CPU.

    Raises:
        CheckpointError: If a file is missing or damaged, or the format newer than this version of mambacl.
    """
    header = _header(folder)
    if folder.name.startswith("step-") and folder.name != f"step-{header['step']:08d}":
        raise CheckpointError(
            f"checkpoint: `{folder / _HEADER}` must be of the step that its folder names, "
            f"got {header['step']}"
        )
    parts: dict[str, Mapping[str, Tensor]] = {}
    for name, expected in header["sha256"].items():
        path = folder / f"{name}.safetensors"
        try:
            data = reading.read_bytes(path)
            got = hashlib.sha256(data).hexdigest()
            if got != expected:
                raise CheckpointError(
                    f"checkpoint: `{path}` is damaged: its sha256 must be {expected}, got {got}"
                )
            parts[name] = load(data)
        except (OSError, ValueError, SafetensorError) as error:
            raise CheckpointError(f"checkpoint: `{path}` cannot be read: {error}") from error
    return Checkpoint(header["step"], parts, header["facts"])


def _header(folder: Path) -> dict[str, Any]:
    path = folder / _HEADER
    try:
        header = reading.read_json(path)
        newer = header["format"] > FORMAT
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"checkpoint: `{path}` cannot be read: {error!r}") from error
    if newer:
        raise CheckpointError(
            f"checkpoint: `{path}` must have a format of at most {FORMAT}, got {header['format']}: "
            "a newer mambacl wrote it"
        )
    kinds = {"step": int, "facts": dict, "sha256": dict}
    if not all(isinstance(header.get(key), kind) for key, kind in kinds.items()):
        raise CheckpointError(f"checkpoint: `{path}` must hold step, facts and sha256, got {sorted(header)}")
    return header
