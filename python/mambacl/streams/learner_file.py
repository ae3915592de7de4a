"""A learner alone as one file: its settings and weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mambacl import _core
from mambacl.config import LearnerConfig
from mambacl.errors import CheckpointError, ConfigError
from mambacl.learner import Learner
from mambacl.streams import container

_KIND = "learner"


def save_learner(learner: Learner, path: Path | str) -> None:
    """Writes a learner as a file, whole or not at all.

    Args:
        learner: A `Learner` itself, on any device.
        path: The file; one that was there is replaced.

    Raises:
        CheckpointError: If the file cannot be written.
        TypeError: If the learner is of a class derived from `Learner`, which a file cannot bring back.
    """
    settings, tensors = learner_content(learner)
    container.write(Path(path), container.pack(_KIND, {"model": settings}, tensors))


def load_learner(path: Path | str) -> Learner:
    """Reads a learner that `save_learner` wrote.

    Args:
        path: The file.

    Returns:
        The learner, on the CPU, in evaluation mode.

    Raises:
        CheckpointError: If the file cannot be read, is damaged or holds something else.

    Example:
        >>> import tempfile
        >>> from mambacl import PrototypeConfig, VectorEncoder
        >>> learner = Learner(PrototypeConfig(VectorEncoder(dim=8)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_learner(learner, Path(folder) / "prototypes.safetensors")
        ...     load_learner(Path(folder) / "prototypes.safetensors").config == learner.config
        True
    """
    return unpack_learner(container.read(Path(path)), f"`{path}`")


def unpack_learner(data: bytes, where: str) -> Learner:
    """The learner of a file's bytes; `where` is the file's name, for messages. Raises as `load_learner`."""
    facts, tensors = container.unpack(data, _KIND, where)
    return learner_of(facts.get("model"), tensors, where)


def learner_content(learner: Learner) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The settings and tensors that make a learner.

    Raises:
        TypeError: If the learner is of a class derived from `Learner`.
    """
    if type(learner) is not Learner:
        raise TypeError(
            f"a file must be of a mambacl.Learner itself, got {type(learner).__name__}, which it could not "
            "bring back"
        )
    return json.loads(learner.config.to_json()), dict(learner.state_dict())


def learner_of(settings: Any, tensors: Mapping[str, Tensor], where: str) -> Learner:
    """The learner of settings and tensors.

    Args:
        settings: A table, as JSON had it.
        tensors: Parameters and buffers by name.
        where: The file's name, for messages.

    Returns:
        The learner, in evaluation mode.

    Raises:
        CheckpointError: If they do not fit to one another.
    """
    try:
        if not isinstance(settings, dict):
            raise ConfigError("there are no settings of a learner")
        config = LearnerConfig.from_table(settings)
        schema = _core.Learner(config.to_json()).schema()
    except ConfigError as error:
        raise CheckpointError(f"{where} holds settings that this mambacl does not know: {error}") from error
    # Before the learner is made: what is allocated is then no larger than the file.
    expected = {name: tuple(shape) for name, shape, _ in schema}
    got = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    kinds = {tensor.dtype for tensor in tensors.values()}
    if got != expected or len(kinds) != 1 or not next(iter(kinds)).is_floating_point:
        raise CheckpointError(f"{where} must hold the tensors of its settings, got others")
    learner = Learner(config).to(next(iter(kinds)))
    learner.load_state_dict(dict(tensors))
    return learner.eval().requires_grad_(False)
