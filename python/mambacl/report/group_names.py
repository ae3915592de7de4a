"""What groups of runs are called: the settings that tell them apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Flat = tuple[tuple[str, str], ...]
"""Settings by their full names, as texts."""


def flat(table: Any, name: str = "") -> Flat:
    """Settings by their full names, as texts.

    Args:
        table: Of settings, or one setting's value.
        name: Of the table.

    Examples:
        >>> flat({"name": "small", "train": {"lr": 0.001}})
        (('name', 'small'), ('train.lr', '0.001'))
    """
    if not isinstance(table, Mapping):
        return ((name, str(table)),)
    return tuple(pair for key, value in table.items() for pair in flat(value, f"{name}.{key}".lstrip(".")))


def group_names(groups: Sequence[Flat]) -> list[str]:
    """A name for each group, no two alike: its experiment, if there are several, and the settings in which it
    differs from groups that it can be compared with in them. The settings of a mixer, for example, are
    compared among mixers of one kind; between kinds it is the kind that is told.

    Args:
        groups: Settings of each, no two the same, with the experiment's `name`.

    Examples:
        >>> mamba = {"kind": "mamba", "d_state": 16}
        >>> groups = [flat({"name": "small", "mixer": mixer}) for mixer in (mamba, {"kind": "attention"})]
        >>> group_names(groups)
        ['mixer.kind mamba', 'mixer.kind attention']
    """
    tables = [dict(group) for group in groups]
    return [_name(table, tables) for table in tables]


def _name(table: Mapping[str, str], tables: Sequence[Mapping[str, str]]) -> str:
    told: list[str] = []
    for key, value in table.items():
        beside = [
            other for other in tables if all(other.get(owner) == table.get(owner) for owner in _owners(key))
        ]
        if any(other.get(key) != value for other in beside):
            told.append(value if key == "name" else f"{key} {value}")
    return ", ".join(told) or table["name"]


def _owners(key: str) -> list[str]:
    """The settings that say what a setting means: the experiment's name, and the kind of each table that it
    stands in."""
    tables = key.split(".")[:-1]
    kinds = [".".join([*tables[: i + 1], "kind"]) for i in range(len(tables))]
    return [owner for owner in ("name", *kinds) if owner != key]
