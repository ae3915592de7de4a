"""A search by successive halving, as far as outcomes tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mambacl.sweeps.grid import neighbours
from mambacl.sweeps.halving import Halving
from mambacl.sweeps.outcome import Outcome
from mambacl.sweeps.sweep import Cell, Row, Values


@dataclass(frozen=True)
class Rungs:
    """The search of one learner.

    Attributes:
        first: The mean score on meta-validation over the search's seeds at the end of the first rung, by the
            values tried so far; the metric's worst where a seed diverged before, None while a cell is
            missing.
        kept: The values that go on to the end, the best first; None while the first rung has not ended. A
            value that diverged is not kept; where all did, none is.
    """

    first: Mapping[Values, float | None]
    kept: tuple[Values, ...] | None

    @classmethod
    def of(cls, row: Row, halving: Halving, known: Mapping[str, Outcome]) -> Rungs:
        """Works out the search from its outcomes alone, so that it goes on in any process as it began.

        Args:
            row: The learner.
            halving: How it is searched.
            known: Outcomes by the name of the cell.
        """
        first: dict[Values, float | None] = {}
        new, ranked = list(row.experiments), list[Values]()
        while new:
            first |= {values: _score(row, halving, values, known) for values in new}
            scores = {values: score for values, score in first.items() if score is not None}
            if len(scores) < len(first):
                return cls(first, None)
            finite = [values for values, score in scores.items() if score != row.metric.worst]
            ranked = sorted(finite, key=lambda values: row.metric.rank(scores[values]), reverse=True)
            new = [one for best in ranked[:1] for one in neighbours(best, row.all_values) if one not in first]
        return cls(first, tuple(ranked[: halving.keep]))


def rung_of(cell: Cell, halving: Halving) -> int:
    """The step that ends the first rung of a cell."""
    return halving.rung(cell.experiment.train)


def _score(row: Row, halving: Halving, values: Values, known: Mapping[str, Outcome]) -> float | None:
    scores: list[float] = []
    for cell in row.search(values):
        if cell.name not in known:
            return None
        scores.append(known[cell.name].validation_at(rung_of(cell, halving), row.metric))
    return row.metric.worst if row.metric.worst in scores else sum(scores) / len(scores)
