"""What is told of work that was done before: that it was not done again."""

from __future__ import annotations

from pathlib import Path


def already(what: str, folder: Path, there: int, done: str, now: int) -> str:
    """A line on what was there and what was done now; where nothing was, with how to begin anew.

    Args:
        what: There may be.
        folder: Where.
        there: How many were there before.
        done: To the others.
        now: How many others.

    Examples:
        >>> already("cells", Path("docs/results/sine"), 30, "trained", 2)
        'Cells: 30 were in docs/results/sine already, 2 were trained now'
        >>> already("cells", Path("here"), 30, "trained", 0)
        'Cells: 30 were in here already, none was trained now; `--results DIR --runs DIR` begins anew'
    """
    told = f"{what.capitalize()}: {_number(there)} in {folder} already, {_number(now)} {done} now"
    return told if now or not there else f"{told}; `--results DIR --runs DIR` begins anew"


def _number(count: int) -> str:
    return f"{count} were" if count > 1 else "1 was" if count else "none was"
