"""Kinds of learners written in Python are registered here."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import field
from typing import Any, Literal, TypeVar

from mambacl.config import LEARNERS, LearnerConfig
from mambacl.config.plugin_kinds import PLUGINS
from mambacl.errors import ConfigError

C = TypeVar("C", bound=LearnerConfig)

_KIND = re.compile(r"[a-z][a-z0-9_-]{0,63}")


def register(kind: str) -> Callable[[type[C]], type[C]]:
    """Makes a learner written in Python one of mambacl's, under a name. A decorator of its settings.

    The settings are a frozen dataclass that derives from `LearnerConfig`. They have fields of their own and
    a method `build(self, seed)`, which returns an `nn.Module` with these methods:

    - `init_state(batch_size)`: the state before any example. It is a tensor, or a tuple, list, dict or
      dataclass of tensors, nested as needed. The first axis of each tensor is the streams. An axis of size 0
      may grow with the stream; all other sizes stay.
    - `observe(state, x, y)`: the state after more examples, in order. `x` is (batch, n, *input shape), `y`
      is int64 (batch, n) of symbols in [0, vocab), or vectors (batch, n, dim). It returns another state, of
      the same structure; the one given stays as it is.
    - `predict(state, x)`: answers to queries (batch, Q, *input shape), each alone: logits by symbol,
      (batch, Q, vocab), or vectors, (batch, Q, dim).
    - `regulariser(state, episode, step)`, optional: a number that is added to the loss in training. `state`
      is the one after the stream, with its graph; `episode` is the `Episode` with symbols in place of labels;
      of classes, tasks are always given; `step` is the training step.

    An attribute `uses_positions = True` says that all streams of a state must have read as many examples.
    Inputs come as they are: the fields `encoder` and `target` give their shapes, and the module encodes them.
    `docs/plugins.md` has an example, and `mambacl.testing.check_learner` tries the laws.

    Args:
        kind: The name, as `kind` in TOML has it: lower-case letters, digits, `-` and `_`.

    Returns:
        The decorator. It returns the settings with `kind` set.

    Raises:
        ConfigError: If the name is taken or malformed, or the class is no frozen dataclass of settings with
            a `build`.

    Examples:
        >>> import torch
        >>> from dataclasses import dataclass
        >>> from torch import nn
        >>> import mambacl
        >>> class Last(nn.Module):  # answers with the last target
        ...     def init_state(self, batch_size):
        ...         return torch.zeros(batch_size, 1)
        ...     def observe(self, state, x, y):
        ...         return y[:, -1]
        ...     def predict(self, state, x):
        ...         return state.unsqueeze(1).expand(-1, x.shape[1], -1)
        >>> @mambacl.register("last-target")
        ... @dataclass(frozen=True)
        ... class LastConfig(mambacl.LearnerConfig):
        ...     def build(self, seed):
        ...         return Last()
        >>> config = LastConfig(mambacl.VectorEncoder(dim=2), mambacl.VectorTarget(dim=1))
        >>> learner = mambacl.Learner(config)
        >>> state = learner.observe(learner.init_state(), torch.zeros(1, 3, 2), torch.ones(1, 3, 1))
        >>> learner.predict(state, torch.zeros(1, 1, 2))
        tensor([[[1.]]])
    """
    if not isinstance(kind, str) or not _KIND.fullmatch(kind):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(
            "register: `kind` must be of lower-case letters, digits, '-' and '_', and begin with a letter, "
            f"got {kind!r}"
        )
    if kind in LEARNERS:
        raise ConfigError(
            f"register: `kind` must not be one of the engine's, {', '.join(LEARNERS)}, got {kind!r}"
        )

    def registered(settings: type[C]) -> type[C]:
        _check(kind, settings)
        before = PLUGINS.get(kind)
        if before is not None and _place(before) != _place(settings):
            raise ConfigError(
                f"register: the kind {kind!r} is taken by {_place(before)}, got {_place(settings)}"
            )
        PLUGINS[kind] = made = _named(kind, settings)
        return made

    return registered


def _named(kind: str, settings: type[C]) -> type[C]:
    """The settings with their kind: a dataclass that differs from what it derives from in nothing else."""
    body: dict[str, Any] = {
        "__annotations__": {"kind": Literal[kind]},
        "__doc__": settings.__doc__,
        "__module__": settings.__module__,
        "__qualname__": settings.__qualname__,
        "kind": field(default=kind, kw_only=True, repr=False),
    }
    return dataclasses.dataclass(frozen=True)(type(settings)(settings.__name__, (settings,), body))


def _check(kind: str, settings: type[Any]) -> None:
    refused = f"register: the settings of {kind!r}"
    if not (isinstance(settings, type) and issubclass(settings, LearnerConfig)):  # pyright: ignore
        raise ConfigError(f"{refused} must derive from mambacl.LearnerConfig, got {settings!r}")
    if "__dataclass_fields__" not in vars(settings):
        raise ConfigError(
            f"{refused} must be a frozen dataclass, got the class {settings.__name__}: write "
            f"@mambacl.register({kind!r}) above @dataclass(frozen=True)"
        )
    if any(settings is known or issubclass(settings, known) for known in LEARNERS.values()):
        raise ConfigError(f"{refused} must derive from none of the engine's kinds, got {settings!r}")
    if not callable(getattr(settings, "build", None)):
        raise ConfigError(f"{refused} must have a method `build(self, seed)`, got none")


def _place(settings: type[Any]) -> str:
    return f"{settings.__module__}.{settings.__qualname__}"
