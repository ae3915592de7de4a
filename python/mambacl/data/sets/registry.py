"""Data sets by name."""

from __future__ import annotations

import difflib

from mambacl.data.sets.data_set import DataSet
from mambacl.data.sets.glyphs import Hanzi21
from mambacl.errors import ConfigError

_SETS: tuple[DataSet, ...] = (Hanzi21(),)


def data_sets() -> tuple[DataSet, ...]:
    """All that are known, in the order of a list to read."""
    return _SETS


def data_set(name: str) -> DataSet:
    """The data set of a name.

    Raises:
        ConfigError: If there is none; with the nearest name.

    Example:
        >>> data_set("hanzi21").kind
        'images'
    """
    for known in _SETS:
        if known.name == name:
            return known
    names = [known.name for known in _SETS]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
    raise ConfigError(f"data: there is no data set {name!r}; {hint}")
