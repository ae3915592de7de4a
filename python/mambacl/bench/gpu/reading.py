"""Measured numbers, and their tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from mambacl.report.markdown import table


@dataclass(frozen=True)
class Reading:
    """A measured number.

    Attributes:
        table: That it is of.
        name: What was measured.
        value: The number.
        unit: Of it; "x" for a ratio.
        aim: What it should be at least; None where nothing was aimed at.
    """

    table: str
    name: str
    value: float
    unit: str
    aim: float | None = None


def tables(readings: Sequence[Reading]) -> str:
    """The numbers as Markdown, a table for each of theirs.

    Examples:
        >>> print(tables([Reading("bandwidth", "copy", 1234.5, "GB/s")]))
        ### bandwidth
        <BLANKLINE>
        | what | measured | aim |
        | --- | --- | --- |
        | copy | 1234.5 GB/s |  |
        <BLANKLINE>
    """
    by_table = groupby(readings, lambda one: one.table)
    return "".join(
        f"### {name}\n\n{table(('what', 'measured', 'aim'), map(_cells, each))}\n" for name, each in by_table
    )


def _cells(one: Reading) -> tuple[str, str, str]:
    digits = 1 if one.value >= 100 else 3
    aim = "" if one.aim is None else f">= {one.aim:g} {one.unit}"
    return one.name, f"{one.value:.{digits}f} {one.unit}", aim
