"""What is left to do of a sweep, as far as outcomes tell."""

from __future__ import annotations

from collections.abc import Mapping

from mambacl.sweeps.outcome import Outcome, Results
from mambacl.sweeps.sweep import Cell, Row, Sweep, Values

Outcomes = Mapping[str, Outcome]
"""By the name of the cell."""


def outcomes(sweep: Sweep, results: Results) -> dict[str, Outcome]:
    """All outcomes that there are.

    Raises:
        RunError: If one cannot be read, or is of other settings.
    """
    found = {cell.name: results.read(cell) for cell in sweep.cells}
    return {name: outcome for name, outcome in found.items() if outcome is not None}


def choice(row: Row, known: Outcomes) -> Values | None:
    """The values with the best score on meta-validation, as a mean over the search's seeds; of equals the
    first. None while a cell of the search has no outcome."""
    if len(row.experiments) == 1:
        return next(iter(row.experiments))
    if any(cell.name not in known for cell in row.searched):
        return None
    scores = dict.fromkeys(row.experiments, 0.0)
    for cell in row.searched:
        scores[cell.values] += known[cell.name].best_validation(row.metric)
    return max(scores, key=lambda values: row.metric.rank(scores[values]))


def final(row: Row, known: Outcomes) -> list[Cell]:
    """The cells of a row that stand in the table; none while the values are not chosen."""
    chosen = choice(row, known)
    return [] if chosen is None else row.final(chosen)


def due(sweep: Sweep, known: Outcomes) -> list[Cell]:
    """The cells that there is something to do for now: of each learner its search, then its seeds."""
    cells: list[Cell] = []
    for row in sweep.rows:
        if choice(row, known) is None:
            cells += [cell for cell in row.searched if cell.name not in known]
        else:
            cells += [
                cell for cell in final(row, known) if cell.name not in known or not known[cell.name].complete
            ]
    return cells
