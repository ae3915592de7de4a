"""The file of a sweep: read, and every experiment of it made, before anything is trained."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import reduce
from pathlib import Path
from typing import Any

from mambacl import settings, toml_files
from mambacl.errors import ConfigError
from mambacl.evaluation import Metric
from mambacl.experiments.experiment import Experiment
from mambacl.experiments.files import read_table
from mambacl.experiments.tables import merge, nested
from mambacl.settings import Settings
from mambacl.sweeps.sweep import Cell, Row, Sizes, Sweep, Values


def read_sweep(file: Path) -> Sweep:
    """Reads the file of a sweep and makes every experiment of it.

    ```toml
    purpose = "Mamba beside a Transformer."
    experiment = "features-mamba"    # optional, what all begin with: a name, or a path from this file
    seeds = [0, 1, 2]

    [train]                          # changes for all; [model] and [data] too
    steps = 1000

    [[learners]]                     # a row of the table
    name = "mamba"

    [[learners]]
    name = "transformer"
    model = { mixer = { kind = "attention" } }    # `kind` changes: what only the old one has is dropped
    seeds = [0]                      # its own

    [search]                         # the same for each learner, chosen on meta-validation
    "train.lr" = [1e-3, 2e-3]
    seeds = [0]

    [test]
    episodes = 600
    ```

    Args:
        file: To read.

    Returns:
        The sweep.

    Raises:
        ConfigError: If the file cannot be read, a setting of any cell is unknown (with the nearest) or
            makes no sense, two rows or cells have one name, or they are scored differently.
    """
    table = toml_files.read("sweep", file)
    if table.keys() <= {one.name for one in fields(Experiment)}:
        raise ConfigError(
            f"sweep: `{file}` must name [[learners]], got none: it is an experiment, for `mambacl train`"
        )
    form = settings.read(_Form, table, "sweep")
    if not form.learners:
        raise ConfigError("sweep: `learners` must name at least one, got none")
    base: dict[str, Any] = {}
    if form.experiment is not None:
        own = form.experiment.endswith(".toml")
        base = read_table(str(file.parent / form.experiment) if own else form.experiment)
    parts = ("model", "train", "data")
    base = merge({part: base.get(part, {}) for part in parts}, {part: getattr(form, part) for part in parts})
    search = dict(form.search)
    search_seeds = settings.read(_Seeds, {"seeds": search.pop("seeds", [0])}, "search").seeds
    grid = _grid(search)
    rows: list[Row] = []
    for number, learner in enumerate(form.learners):
        row = settings.read(_Row, learner, f"learners[{number}]")
        _check_name(row.name, number)
        changed = merge(base, {part: getattr(row, part) for part in parts})
        named = f"{file.stem}-{row.name}"
        made = {values: _experiment(row.name, named, changed, values) for values in grid}
        rows.append(Row(row.name, form.seeds if row.seeds is None else row.seeds, search_seeds, made))
    sweep = Sweep(file.stem, form.purpose, tuple(rows), form.test)
    _check_distinct("learners", (row.name for row in rows))
    _check_distinct("cells", (cell.name for cell in sweep.cells))
    for cell in sweep.cells:
        _check_metric(cell, sweep.metric)
    for row in rows:
        _check_seeds(f"seeds of {row.name}", row.seeds)
    _check_seeds("search.seeds", search_seeds)
    return sweep


@dataclass(frozen=True)
class _Form(Settings):
    """The file of a sweep, its rows as they stand there."""

    purpose: str = ""
    experiment: str | None = None
    seeds: tuple[int, ...] = (0,)
    model: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    learners: tuple[dict[str, Any], ...] = ()
    search: dict[str, Any] = field(default_factory=dict)
    test: Sizes = field(default_factory=Sizes)


@dataclass(frozen=True)
class _Row(Settings):
    """One of [[learners]]."""

    name: str
    model: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] | None = None


@dataclass(frozen=True)
class _Seeds(Settings):
    """Of the search."""

    seeds: tuple[int, ...]


def _grid(search: Mapping[str, Any]) -> list[Values]:
    """All combinations of values."""
    for place, values in search.items():
        if place.partition(".")[0] not in ("model", "train", "data") or not isinstance(values, list | tuple):
            raise ConfigError(
                "search: must hold lists of values of settings by their full names in quotes, such as "
                f'"train.lr" = [1e-3, 2e-3], got `{place}` = {values!r}'
            )
        if not values:
            raise ConfigError(f"search: `{place}` must have at least one value, got none")
        alike = any(
            one == other or str(one) == str(other) for one, other in itertools.combinations(values, 2)
        )  # 0 and 0.0 are one value by two names
        if alike or any(isinstance(value, Mapping) for value in values):
            raise ConfigError(f"search: `{place}` must have distinct values and no tables, got {values}")
    frozen = [[_frozen(value) for value in values] for values in search.values()]
    return [tuple(zip(search, values, strict=True)) for values in itertools.product(*frozen)]


def _frozen(value: Any) -> Any:
    """A value that may be a key."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _experiment(row: str, name: str, table: Mapping[str, Any], values: Values) -> Experiment:
    changed = reduce(merge, (nested(*pair) for pair in values), dict(table))
    try:
        return Experiment.from_table({"name": name, **changed})
    except ConfigError as error:
        raise ConfigError(f"learner {row!r}: {error}") from error


def _check_name(name: str, number: int) -> None:
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise ConfigError(
            f"learners[{number}]: `name` must be of letters, digits, '_', '.', '+' and '-', as that of a "
            f"folder, got {name!r}"
        )


def _check_distinct(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ConfigError(f"sweep: the names of {what} must be distinct, got {name!r} twice")
        seen.add(name)


def _check_metric(cell: Cell, metric: Metric) -> None:
    if cell.experiment.metric != metric:
        raise ConfigError(
            f"learner {cell.learner!r}: must be scored by {metric.name}, as the first of the table, got "
            f"{cell.experiment.metric.name}"
        )


def _check_seeds(what: str, seeds: tuple[int, ...]) -> None:
    if not seeds or len(set(seeds)) != len(seeds) or not all(0 <= seed < 2**64 for seed in seeds):
        raise ConfigError(
            f"sweep: `{what}` must be distinct numbers from 0 to 2^64 - 1, at least one, got {list(seeds)}"
        )
