"""What is left to do of a sweep, as far as outcomes tell."""

from __future__ import annotations

from collections.abc import Mapping

from mambacl.sweeps.outcome import Outcome, Results
from mambacl.sweeps.rungs import Rungs, rung_of
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
    first. Of a search by successive halving those that went on to the end take part. None while a cell of the
    search is left."""
    if len(row.experiments) == 1:
        return next(iter(row.experiments))
    if searching(row, known):
        return None
    candidates = tuple(row.experiments)
    if row.halving is not None:
        candidates = Rungs.of(row, row.halving, known).kept or candidates  # where all diverged, the first
    scores = {
        values: sum(known[cell.name].best_validation(row.metric) for cell in row.search(values))
        for values in candidates
    }
    return max(scores, key=lambda values: row.metric.rank(scores[values]))


def searching(row: Row, known: Outcomes) -> list[Cell]:
    """The cells that the search of a row has left to train now."""
    if row.halving is None:
        return [cell for cell in row.searched if not _ended(cell, known)]
    rungs = Rungs.of(row, row.halving, known)
    if rungs.kept is None:
        return [cell for values in rungs.first for cell in row.search(values) if cell.name not in known]
    return [cell for values in rungs.kept for cell in row.search(values) if not _ended(cell, known)]


def goal(row: Row, cell: Cell, known: Outcomes) -> int:
    """The steps that a cell is to be trained for now: those of the first rung, or all."""
    if row.halving is not None and cell.seed in row.search_seeds:
        kept = Rungs.of(row, row.halving, known).kept
        if kept is None or cell.values not in kept:
            return rung_of(cell, row.halving)
    return cell.experiment.train.steps


def final(row: Row, known: Outcomes) -> list[Cell]:
    """The cells of a row that stand in the table; none while the values are not chosen."""
    chosen = choice(row, known)
    return [] if chosen is None else row.final(chosen)


def due(sweep: Sweep, known: Outcomes) -> list[Cell]:
    """The cells that there is something to do for now: of each learner its search, then its seeds."""
    cells: list[Cell] = []
    for row in sweep.rows:
        cells += searching(row, known) or [
            cell for cell in final(row, known) if cell.name not in known or not known[cell.name].complete
        ]
    return cells


def _ended(cell: Cell, known: Outcomes) -> bool:
    """Whether a cell was trained for all its steps, or diverged."""
    return cell.name in known and known[cell.name].reached(cell.experiment.train.steps)
