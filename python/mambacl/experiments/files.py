"""Experiments by the names of their TOML files, with settings changed on the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mambacl import packaged, reading, toml_files
from mambacl.errors import ConfigError
from mambacl.experiments.experiment import Experiment
from mambacl.experiments.tables import merge, nested

_FOLDER = packaged.folder("mambacl.experiments")
_DEEPEST = 8
"""Tables that a change on the command line may lie in."""


def names() -> list[str]:
    """The experiments of the package."""
    return toml_files.names(_FOLDER)


def load(experiment: str, changes: Sequence[str] = ()) -> Experiment:
    """Reads an experiment.

    Args:
        experiment: A name of the package's, or a path that ends in .toml.
        changes: Settings to change, each "a.b=c" with c as TOML has it (a word needs no quotes). Changing
            the `kind` of a part drops the settings that only the old kind has.

    Returns:
        The experiment.

    Raises:
        ConfigError: If there is no such experiment, or a setting is unknown or of a wrong type.

    Examples:
        >>> load("glyphs-mamba", ["train.lr=1e-4", "model.n_layer=4"]).model.n_layer
        4
    """
    table = {"name": Path(experiment).stem, **read_table(experiment)}
    for change in changes:
        table = merge(table, _change(table, change))
    return Experiment.from_table(table)


def read_table(experiment: str) -> dict[str, Any]:
    """The table of an experiment, as its file has it.

    Args:
        experiment: A name of the package's, or a path that ends in .toml.

    Raises:
        ConfigError: If there is no such experiment, or the file cannot be read.
    """
    return toml_files.read("experiment", toml_files.path("experiment", experiment, _FOLDER))


def _value(place: str, text: str) -> Any:
    """The value of a change, as TOML has it; what is no TOML is a word."""
    whole = ".".join(json.dumps(part) for part in place.split("."))  # with it errors name the setting
    try:
        value: Any = reading.parse_toml(f"{whole} = {text}")
    except reading.TOMLDecodeError:
        return text.strip()
    except ValueError as error:
        raise ConfigError(f"--set: {place}: {error}") from error
    for part in place.split("."):
        value = value[part]
    return value


def _change(table: Mapping[str, Any], change: str) -> dict[str, Any]:
    """The table of one change."""
    place, equals, text = change.partition("=")
    *parts, last = place.strip().split(".")
    if not equals or not all([*parts, last]):
        raise ConfigError(f"--set: a change must be a.b=c, such as train.lr=1e-3, got {change!r}")
    if len(parts) > _DEEPEST:
        raise ConfigError(f"--set: a name must have at most {_DEEPEST + 1} parts, got {len(parts) + 1}")
    value = _value(place.strip(), text)
    inner: Any = table
    for part in parts:
        inner = inner.get(part, {})
        if not isinstance(inner, Mapping):
            raise ConfigError(f"--set: `{part}` of {place!r} is no table")
    return nested(place.strip(), value)
