"""What the generated settings derive from: methods that need the engine."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any, TypeVar

from mambacl import _core, settings
from mambacl.config import plugin_kinds
from mambacl.errors import ConfigError
from mambacl.settings import Settings

LEARNERS: dict[str, type[Any]] = {}
"""The settings of learners by their kind; `mambacl.config.generated` enters the engine's."""

L = TypeVar("L", bound="LearnerSettings")


class EncoderSettings(Settings):
    """Settings of an encoder."""

    @cached_property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input: (channels, height, width) of images, (dim,) of vectors."""
        return tuple(_core.encoder_input_shape(json.dumps(_checked(self, ""))))


class LearnerSettings(Settings):
    """Settings of a learner."""

    @classmethod
    def from_table(cls: type[L], table: Mapping[str, Any]) -> L:
        """The settings of a table `[model]`.

        Args:
            table: Settings by name, as TOML has them; those left out keep their defaults. Without a `kind`
                they are a sequence learner's.

        Returns:
            The settings, of the class of their kind.

        Raises:
            ConfigError: If a key is unknown (with the nearest that is known), or a value is of another type
                or out of its range.

        Examples:
            >>> from mambacl import LearnerConfig
            >>> LearnerConfig.from_table({"n_layer": 4, "encoder": {"kind": "vector", "dim": 8}}).encoder
            VectorEncoder(dim=8, hidden=())
            >>> type(LearnerConfig.from_table({"kind": "prototype"})).__name__
            'PrototypeConfig'
        """
        kind = table.get("kind")
        if isinstance(kind, str) and kind not in LEARNERS and (plugin := plugin_kinds.find(kind)) is not None:
            return settings.read(plugin, table, "model")
        engine = _core.Learner(json.dumps(_checked(table, "")))
        whole = json.loads(engine.config())
        return settings.read(LEARNERS[whole["kind"]], whole, "model")

    def to_json(self) -> str:
        """The settings as the engine reads them.

        Raises:
            ConfigError: If a setting is of a type that JSON lacks, or not finite.
        """
        return json.dumps(_checked(self, ""))


def _checked(value: Any, name: str) -> Any:
    """Settings as JSON has them; `name` is the setting's own, for messages. The engine checks all else."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {part.name: getattr(value, part.name) for part in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _checked(part, f"{name}.{key}".lstrip(".")) for key, part in value.items()}
    for part in value if isinstance(value, tuple | list) else (value,):
        if not isinstance(part, int | float | str | None):
            got = type(part).__name__
            raise ConfigError(f"configuration: `{name}` must be a number, a name or several, got {got}")
        if isinstance(part, float) and not math.isfinite(part):
            raise ConfigError(f"configuration: `{name}` must be finite, got {part}")
    return value
