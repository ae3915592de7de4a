"""The values that a search tries: a grid, and those beyond its edges."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from mambacl.sweeps.sweep import Values

_DIGITS = 6
"""Significant digits of a value beyond the edge."""


def grid(axes: Mapping[str, Sequence[Any]]) -> list[Values]:
    """All combinations of values.

    Args:
        axes: Values by setting.

    Examples:
        >>> grid({"train.lr": [0.1, 0.2]})
        [(('train.lr', 0.1),), (('train.lr', 0.2),)]
    """
    return [tuple(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def beyond(axes: Mapping[str, Sequence[Any]], extend: int) -> list[Values]:
    """The combinations that a grid may be extended by. A setting is extended at an edge by the ratio of the
    two values there, if its values are positive and at least one is a float: whole numbers, such as a number
    of layers, are not extended.

    Args:
        axes: Values of the grid by setting.
        extend: Values on each side.

    Examples:
        >>> beyond({"train.lr": [0.001, 0.002, 0.006]}, 1)
        [(('train.lr', 0.0005),), (('train.lr', 0.018),)]
        >>> beyond({"model.n_layer": [1, 2]}, 1)
        []
    """
    longer = {place: _extended(values, extend) for place, values in axes.items()}
    inside = set(grid(axes))
    return [values for values in grid(longer) if values not in inside]


def neighbours(values: Values, among: Collection[Values]) -> list[Values]:
    """The next smaller and the next larger of each setting of numbers, the others as they are; those that are
    among some.

    Args:
        values: Whose neighbours.
        among: All that there may be.

    Examples:
        >>> neighbours((("train.lr", 0.2),), grid({"train.lr": [0.1, 0.2, 0.4, 0.8]}))
        [(('train.lr', 0.1),), (('train.lr', 0.4),)]
    """
    found: list[Values] = []
    for place, value in values:
        axis = {dict(one)[place] for one in among}
        if not all(map(_is_number, axis)):
            continue
        below, above = [one for one in axis if one < value], [one for one in axis if one > value]
        for near in (*sorted(below)[-1:], *sorted(above)[:1]):
            moved = replaced(values, place, near)
            if moved in among:
                found.append(moved)
    return found


def edges(values: Values, tried: Collection[Values]) -> dict[str, str]:
    """Which of the values is the smallest or the largest tried beside the same values of other settings, by
    its setting. Numbers alone have an order; one that nothing else was tried beside has no edge.

    Args:
        values: Chosen.
        tried: All that were tried.

    Examples:
        >>> edges((("train.lr", 0.4),), grid({"train.lr": [0.1, 0.2, 0.4]}))
        {'train.lr': 'largest'}
    """
    found: dict[str, str] = {}
    for place, value in values:
        axis = {dict(one)[place] for one in tried if replaced(one, place, value) == values}
        if len(axis) < 2 or not all(map(_is_number, axis)):
            continue
        if value in (min(axis), max(axis)):
            found[place] = "smallest" if value == min(axis) else "largest"
    return found


def replaced(values: Values, place: str, value: Any) -> Values:
    """The values with another one of a setting."""
    return tuple((name, value if name == place else old) for name, old in values)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _extended(values: Sequence[Any], extend: int) -> list[Any]:
    """The values, then those below, then those above, the nearest first."""
    numbers = all(map(_is_number, values)) and any(type(value) is float for value in values)
    if len(values) < 2 or not numbers or not all(0 < value < math.inf for value in values):
        return list(values)
    ascending = [float(value) for value in sorted(values)]
    return [*values, *_geometric(ascending[1::-1], extend), *_geometric(ascending[-2:], extend)]


def _geometric(two: Sequence[float], count: int) -> Iterator[float]:
    """What follows two values by their ratio."""
    before, value = two
    ratio = value / before
    for _ in range(count):
        value *= ratio
        if 0 < value < math.inf:
            yield float(f"{value:.{_DIGITS}g}")
