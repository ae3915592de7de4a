"""Learners written in Python, and their states, as files: safetensors with JSON beside the tensors.

The functions are those of `_core` for the engine's kinds. A file names the module that registers the kind; it
holds no code, and nothing is pickled.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mambacl import container, settings
from mambacl.config import LearnerConfig
from mambacl.config.plugin_kinds import find
from mambacl.errors import ConfigError, FileError, MambaclError
from mambacl.importing import import_named
from mambacl.plugins import checks
from mambacl.plugins.building import build
from mambacl.plugins.engine import ModuleEngine, PlainState
from mambacl.settings import Settings

LEARNER = "plugin learner"
STATE = "plugin state"
_MEMORY = "layers.0."

_DTYPES = {str(dtype): dtype for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)}


@dataclass(frozen=True)
class _LearnerFacts(Settings):
    """What the file of a learner says of it."""

    kind: str
    module: str
    config: dict[str, Any]
    dtype: str


@dataclass(frozen=True)
class _StateFacts(Settings):
    """What the file of a state says of it."""

    kind: str
    model: str
    streams: int


def need(kind: str, module: str, where: str) -> None:
    """Imports the module that registers a kind, unless that is registered.

    Args:
        kind: Of a learner.
        module: That registers it.
        where: What names both, for messages.

    Raises:
        ConfigError: If the module cannot be imported, or registers no such kind.
    """
    if find(kind) is not None:
        return
    import_named(module, where)
    if find(kind) is None:
        raise ConfigError(
            f"{where}: the module `{module}` must register the kind {kind!r} when it is imported, "
            "got none such"
        )


def fingerprint(engine: ModuleEngine, tensors: list[Tensor]) -> str:
    """The SHA-256 of the kind, of the settings that differ from their defaults, and of all tensors."""
    del tensors
    digest = hashlib.sha256(f"mambacl plugin model 1\n{json.dumps(_told(engine.settings))}\n".encode())
    for name, tensor in engine.module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def pack_learner(engine: ModuleEngine, tensors: list[Tensor]) -> bytes:
    """The bytes of a learner's file.

    Raises:
        ConfigError: If the tensors are not those that the settings make, as where adapters were put in.
    """
    config = engine.settings
    own, made = (
        {name: list(tensor.shape) for name, tensor in module.state_dict().items()}
        for module in (engine.module, build(config, 0))
    )
    for name in [*made, *own]:
        if own.get(name) != made.get(name):
            raise ConfigError(
                f"save_learner: the module must have the tensors that its settings make, with `{name}` of "
                f"shape {made.get(name)}, got {own.get(name)}; a file holds settings and tensors alone"
            )
    facts = {
        "kind": config.kind,
        "module": type(config).__module__,
        "config": json.loads(config.to_json()),
        "dtype": str(tensors[0].dtype),
    }
    # Copies: safetensors refuses tensors that share memory, as tied weights do.
    whole = {name: tensor.detach().clone() for name, tensor in engine.module.state_dict().items()}
    return container.pack(LEARNER, facts, whole)


def unpack_learner(file: str, data: bytes) -> tuple[LearnerConfig, torch.dtype, dict[str, Tensor]]:
    """Settings, dtype and tensors of a learner's file.

    Raises:
        FileError: If it is damaged, or needs a module that cannot be imported.
    """
    table, tensors = container.unpack(data, LEARNER, f"file: `{file}`")
    try:
        facts = settings.read(_LearnerFacts, table, "facts")
        if facts.dtype not in _DTYPES:
            raise ConfigError(f"`dtype` must be one of {', '.join(_DTYPES)}, got {facts.dtype!r}")
        need(facts.kind, facts.module, f"its learner of kind {facts.kind!r}")
        config = LearnerConfig.from_table(facts.config)
    except ConfigError as error:
        raise FileError(f"file: `{file}` cannot be read: {error}") from error
    if config.kind != facts.kind:
        raise FileError(f"file: `{file}` must hold settings of {facts.kind!r}, got those of {config.kind!r}")
    return config, _DTYPES[facts.dtype], tensors


def load_tensors(engine: ModuleEngine, file: str, tensors: Mapping[str, Tensor]) -> None:
    """Puts the tensors of a file into the module.

    Raises:
        FileError: If they are not those of the module.
    """
    own = engine.module.state_dict()
    for name in [*own, *tensors]:
        want, got = (
            None if tensor is None else (tensor.dtype, list(tensor.shape))
            for tensor in (own.get(name), tensors.get(name))
        )
        if want != got:
            raise FileError(
                f"file: `{file}` must hold the tensors of a {engine.settings.kind!r} learner, with `{name}` "
                f"{_form(want)}, got {_form(got)}"
            )
    engine.module.load_state_dict(dict(tensors))


def pack_state(engine: ModuleEngine, tensors: list[Tensor], state: PlainState, counts: list[int]) -> bytes:
    """The bytes of a state's file."""
    labels, memory = engine.check_state("save_state", state, tensors[0])
    named = {"examples": torch.tensor(counts), **dict(zip(("codebook", "seen"), labels, strict=False))}
    named |= {f"{_MEMORY}{name}": tensor for name, tensor in zip(engine.names, memory, strict=True)}
    facts = {
        "kind": engine.settings.kind,
        "model": fingerprint(engine, tensors),
        "streams": len(counts),
    }
    copies = {
        name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in named.items()
    }
    return container.pack(STATE, facts, copies)


def unpack_state(
    engine: ModuleEngine, tensors: list[Tensor], file: str, data: bytes
) -> tuple[PlainState, list[int]]:
    """A state, and the examples that each of its streams has observed.

    Raises:
        FileError: If the file is damaged, or the state is of another model.
    """
    where, like = f"file: `{file}`", tensors[0]
    table, found = container.unpack(data, STATE, where)
    try:
        facts = settings.read(_StateFacts, table, "facts")
    except ConfigError as error:
        raise FileError(f"{where} is of another version of mambacl: {error}") from error
    is_model = fingerprint(engine, tensors)
    if facts.model != is_model:
        raise FileError(
            f"{where} must be a state of this model, whose fingerprint is {is_model}, "
            f"got one of {facts.model}"
        )
    known = [] if engine.vocab is None else ["codebook", "seen"]
    names = [*known, *(f"{_MEMORY}{name}" for name in engine.names)]
    if set(found) != {"examples", *names}:
        raise FileError(f"{where} must hold the tensors {['examples', *names]}, got {sorted(found)}")
    counts = found["examples"]
    if counts.shape != (facts.streams,) or counts.dtype != torch.int64 or not len(counts) or counts.min() < 0:
        raise FileError(f"{where} must hold a number of examples for each of {facts.streams} streams")
    state = int(counts.min()), [found[name].to(like.device) for name in names]
    try:
        _check_forms(engine, state, facts.streams, like)
    except (MambaclError, AssertionError) as error:
        raise FileError(f"{where} must hold a state of this learner: {error}") from error
    return state, counts.tolist()


def _check_forms(engine: ModuleEngine, state: PlainState, streams: int, like: Tensor) -> None:
    """Checks shapes, and dtypes against those of a new state."""
    labels, memory = engine.check_state("load_state", state, like)
    if engine.vocab is not None:
        checks.codebook("load_state", "codebook", labels[0], engine.vocab, like)
    codebook = labels[0] if labels else None
    _, new = engine.initial_state([like], streams, codebook, 0)
    names = [*("codebook", "seen")[: len(labels)], *engine.names]
    for name, tensor, other in zip(names, (*labels, *memory), new, strict=True):
        if tensor.dtype != other.dtype or len(tensor) != streams:
            raise ConfigError(
                f"`{name}` must be {other.dtype} of {streams} streams, got {tensor.dtype} of {len(tensor)}"
            )


def _told(config: LearnerConfig) -> dict[str, Any]:
    """The settings that differ from their defaults: a later version of a plug-in may add some."""
    table = json.loads(config.to_json())
    usual: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        if field.default is not dataclasses.MISSING:
            usual[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            usual[field.name] = field.default_factory()
    return {
        name: table[name]
        for name in sorted(table)
        if name == "kind" or name not in usual or getattr(config, name) != usual[name]
    }


def _form(form: tuple[torch.dtype, list[int]] | None) -> str:
    return "absent" if form is None else f"{form[0]} of shape {form[1]}"
