"""Experiments by the names of their TOML files, with settings changed on the command line."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from mambacl.errors import ConfigError
from mambacl.experiments.experiment import Experiment

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_FOLDER = files("mambacl.experiments") / "files"


def names() -> list[str]:
    """The experiments of the package."""
    return sorted(file.name.removesuffix(".toml") for file in _FOLDER.iterdir())


def load(experiment: str, changes: Sequence[str] = ()) -> Experiment:
    """Reads an experiment.

    Args:
        experiment: A name of the package's, or a path that ends in .toml.
        changes: Settings to change, each "a.b=c" with c as TOML has it (a word needs no quotes). Changing
            the `kind` of a part drops its other settings.

    Returns:
        The experiment.

    Raises:
        ConfigError: If there is no such experiment, or a setting is unknown or of a wrong type.

    Example:
        >>> load("glyphs-mamba", ["train.lr=1e-4", "model.n_layer=4"]).model.n_layer
        4
    """
    table = {"name": Path(experiment).stem, **_read(experiment)}
    for change in changes:
        _change(table, change)
    return Experiment.from_table(table)


def _read(experiment: str) -> dict[str, Any]:
    if experiment.endswith(".toml"):
        file = Path(experiment)
    elif experiment in names():
        file = _FOLDER / f"{experiment}.toml"
    else:
        near = difflib.get_close_matches(experiment, names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names())}"
        raise ConfigError(f"experiment: there is none named {experiment!r}; {hint}")
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"experiment: `{file}` cannot be read: {error}") from error


def _change(table: dict[str, Any], change: str) -> None:
    place, equals, text = change.partition("=")
    *parts, last = place.strip().split(".")
    if not equals or not all([*parts, last]):
        raise ConfigError(f"--set: a change must be a.b=c, such as train.lr=1e-3, got {change!r}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for part in parts:
        inner = table.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set: `{part}` of {place!r} is no table")
        table = inner
    if last == "kind" and table.get("kind") != value:
        table.clear()
    table[last] = value
