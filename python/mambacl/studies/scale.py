"""How much a study asks: all of it, or little enough to try every line within minutes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from mambacl.experiments.experiment import Experiment
from mambacl.ranges import Episodes
from mambacl.settings import Settings
from mambacl.sweeps import Row, Sweep
from mambacl.sweeps.sweep import Sizes

T = TypeVar("T")

_FAST_STEPS = 4


@dataclass(frozen=True)
class Scale(Settings):
    """How much a study asks.

    Attributes:
        episodes: For each number that is measured.
        fast: Whether this is for trying only: learners train for a few steps, and of what is varied only the
            first and the last are asked. Such numbers say nothing of learners.
    """

    episodes: Episodes = 200
    fast: bool = False

    @classmethod
    def to_try(cls) -> Scale:
        """The scale at which all studies take minutes."""
        return cls(episodes=4, fast=True)

    def __str__(self) -> str:
        return f"{self.episodes} episodes{' with --fast' * self.fast}"

    def some(self, values: Sequence[T]) -> tuple[T, ...]:
        """Of values that are varied, all; or the first and the last."""
        return tuple(values) if not self.fast else (values[0], *values[1:][-1:])

    def sweep(self, sweep: Sweep) -> Sweep:
        """A sweep as it is; or one without search or further seeds, of a few steps."""
        if not self.fast:
            return sweep
        rows = tuple(self._row(row) for row in sweep.rows)
        return dataclasses.replace(sweep, rows=rows, test=Sizes(episodes=4, matrix_episodes=2))

    def _row(self, row: Row) -> Row:
        experiment = next(iter(row.experiments.values()))
        return Row(row.name, row.seeds[:1], row.search_seeds[:1], {(): _short(experiment)})


def _short(experiment: Experiment) -> Experiment:
    train = dataclasses.replace(
        experiment.train,
        steps=_FAST_STEPS,
        batch_size=2,
        accumulation=1,
        validate_every=_FAST_STEPS,
        validation_episodes=4,
        checkpoint_every=_FAST_STEPS,
    )
    return dataclasses.replace(experiment, train=train)
