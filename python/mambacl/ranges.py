"""Ranges of numbers, stated where a setting or an argument is declared, and checked in one way for all."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Iterator
from typing import Annotated, Any

from mambacl.errors import ConfigError
from mambacl.reading import shown


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers that a setting may have; stands in the type of its field, `Annotated[int, Range(1, 9)]`.

    Attributes:
        least: The smallest.
        most: The largest.
        above: Whether the smallest itself is left out.
        below: Whether the largest itself is left out.

    Examples:
        >>> str(Range(1, 1_000_000)), 0 in Range(1, 9)
        ('from 1 to 1,000,000', False)
        >>> str(Range(0, 1, above=True)), str(Range(0, 1, below=True))
        ('above 0 and at most 1', 'at least 0 and below 1')
    """

    least: float
    most: float
    above: bool = False
    below: bool = False

    def __contains__(self, number: object) -> bool:
        if isinstance(number, bool) or not isinstance(number, int | float):
            return False
        high_enough = number > self.least if self.above else number >= self.least
        return high_enough and (number < self.most if self.below else number <= self.most)

    def __str__(self) -> str:
        least, most = _written(self.least), _written(self.most)
        if not self.above and not self.below:
            return f"from {least} to {most}"
        low, high = "above" if self.above else "at least", "below" if self.below else "at most"
        return f"{low} {least} and {high} {most}"


Count = Annotated[int, Range(1, 10**9)]
"""Of steps, or of what else is counted."""

Episodes = Annotated[int, Range(2, 10**6)]
"""Of a measurement: an interval over episodes takes two."""

Jobs = Annotated[int, Range(1, 1024)]
"""Processes at a time."""

Seed = Annotated[int, Range(0, 2**64 - 1)]
"""Of random numbers."""

Share = Annotated[float, Range(0, 1, below=True)]
"""Of a whole, which is never all of it."""


def check(settings: object, where: str, *, option: bool = False) -> None:
    """Checks every number of a dataclass against the range in the type of its field.

    Args:
        settings: The dataclass; fields without a range, and those that are None, are left alone.
        where: What it is of, for the message.
        option: Whether its fields are options of a command line, and called as there.

    Raises:
        ConfigError: For the first number out of its range, with the range and the number.

    Examples:
        >>> @dataclasses.dataclass
        ... class Drawing:
        ...     side: Annotated[int, Range(1, 64)] = 8
        >>> check(Drawing(0), "drawing")
        Traceback (most recent call last):
        ...
        mambacl.errors.ConfigError: drawing: `side` must be from 1 to 64, got 0
    """
    for name, known in ranges_of(type(settings)).items():
        value = getattr(settings, name)
        for one in value if isinstance(value, tuple | list) else (value,):
            if one is not None and not isinstance(one, str) and one not in known:
                called = f"--{name.replace('_', '-')}" if option else name
                raise ConfigError(f"{where}: `{called}` must be {known}, got {shown(one)}")


@functools.cache
def ranges_of(kind: type) -> dict[str, Range]:
    """The ranges of a dataclass, by field."""
    hints = typing.get_type_hints(kind, include_extras=True)
    found = {field.name: next(_ranges(hints[field.name]), None) for field in dataclasses.fields(kind)}
    return {name: known for name, known in found.items() if known is not None}


def _ranges(hint: Any) -> Iterator[Range]:
    """Those in a type: of itself, of the members of a union, of the items of a tuple."""
    yield from (part for part in getattr(hint, "__metadata__", ()) if isinstance(part, Range))
    for part in typing.get_args(hint):
        yield from _ranges(part)


def _written(number: float) -> str:
    if isinstance(number, int):
        return "2^64 - 1" if number == 2**64 - 1 else f"{number:,}"
    return f"{number:g}"
