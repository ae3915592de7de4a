"""A sweep: the rows of a table, each a learner, and the cells of each, a run with its seed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from mambacl.data import Split
from mambacl.evaluation import Metric
from mambacl.experiments.experiment import Experiment
from mambacl.ranges import Episodes
from mambacl.settings import Settings
from mambacl.sweeps.halving import Halving

Values = tuple[tuple[str, Any], ...]
"""Settings that are searched, by their full names, each with a value; empty where nothing is searched."""


@dataclass(frozen=True)
class Cell:
    """One run of a sweep.

    Attributes:
        name: Of its folder.
        learner: The row it belongs to.
        values: Of the settings that are searched.
        seed: Of the run.
        experiment: What it is a run of.
    """

    name: str
    learner: str
    values: Values
    seed: int
    experiment: Experiment


@dataclass(frozen=True)
class Row:
    """A learner of a sweep.

    Attributes:
        name: Its label.
        seeds: Of the runs that are tested.
        search_seeds: Of the runs that the values are chosen by.
        experiments: By the values of the settings that are searched; one without a search.
        halving: How the values are searched; None where all are trained to the end.
        beyond: By the values that the search may extend the grid by; of `halving` only.
    """

    name: str
    seeds: tuple[int, ...]
    search_seeds: tuple[int, ...]
    experiments: Mapping[Values, Experiment]
    halving: Halving | None = None
    beyond: Mapping[Values, Experiment] = field(default_factory=dict)

    @property
    def metric(self) -> Metric:
        """What its scores are."""
        return next(iter(self.experiments.values())).metric

    @property
    def searched(self) -> list[Cell]:
        """The cells of the grid that the values are chosen by; none where there is no choice."""
        if len(self.experiments) == 1:
            return []
        return [cell for values in self.experiments for cell in self.search(values)]

    @property
    def all_values(self) -> tuple[Values, ...]:
        """The grid, and what it may be extended by."""
        return (*self.experiments, *self.beyond)

    def experiment(self, values: Values) -> Experiment:
        """The experiment of some values of the grid, or beyond."""
        return self.experiments[values] if values in self.experiments else self.beyond[values]

    def search(self, values: Values) -> list[Cell]:
        """The cells that some values are judged by, one for each seed of the search."""
        return [self._cell(values, seed) for seed in self.search_seeds]

    def final(self, values: Values) -> list[Cell]:
        """The cells that are tested, with the values that were chosen."""
        return [self._cell(values, seed) for seed in self.seeds]

    @property
    def cells(self) -> list[Cell]:
        """All that there may be, whatever is chosen."""
        seeds = dict.fromkeys((*self.search_seeds, *self.seeds))
        return [self._cell(values, seed) for values in self.all_values for seed in seeds]

    def _cell(self, values: Values, seed: int) -> Cell:
        parts = [self.name, *(_value_name(*pair) for pair in values), f"seed{seed}"]
        return Cell("-".join(parts), self.name, values, seed, self.experiment(values))


@dataclass(frozen=True)
class Sizes(Settings):
    """How much the cells are tested with.

    Attributes:
        episodes: Of test classes, at least 2: an interval over episodes takes two.
        matrix_episodes: Of them for R, which asks after every task; at least 2.

    Raises:
        ConfigError: If one is out of its range.
    """

    where: ClassVar[str] = "test"

    episodes: Episodes = 600
    matrix_episodes: Episodes = 100


@dataclass(frozen=True)
class Sweep:
    """A family of runs that becomes one table.

    Attributes:
        name: Of its file.
        purpose: What it is for.
        rows: The learners.
        test: How much they are tested with.
    """

    name: str
    purpose: str
    rows: tuple[Row, ...]
    test: Sizes

    @property
    def metric(self) -> Metric:
        """What the scores of all rows are."""
        return self.rows[0].metric

    @property
    def cells(self) -> list[Cell]:
        """All that there may be, whatever is chosen."""
        return [cell for row in self.rows for cell in row.cells]

    def row(self, name: str) -> Row:
        """A row by its name."""
        return next(row for row in self.rows if row.name == name)

    def draw_episodes(self) -> None:
        """Draws an episode of each split for each kind of data in the sweep, before anything is trained;
        what a cache lacks is computed here, once.

        Raises:
            InvalidValueError: If such episodes cannot be drawn.
            ConfigError: If a seed is out of its range.
        """
        splits: tuple[Split, ...] = ("train", "validation", "test")
        drawn: list[Any] = []
        for cell in self.cells:
            key = (cell.experiment.data, cell.experiment.model.target)
            if key not in drawn:
                drawn.append(key)
                for split in splits:
                    cell.experiment.source(split, cell.seed).batch(0, 1)


def _value_name(place: str, value: Any) -> str:
    """The value of a setting as a part of a folder's name."""
    return place.rpartition(".")[2] + re.sub(r"[^\w.+]+", "_", str(value))
