"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table.

    Args:
        headings: Of its columns.
        rows: A text for each column; a bar in one becomes a stroke.

    Returns:
        Lines, without the last line's end.

    Examples:
        >>> print(table(("learner", "accuracy"), [("mamba", "0.975")]))
        | learner | accuracy |
        | --- | --- |
        | mamba | 0.975 |
    """
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
