"""The file of a sweep: read, and every experiment of it made, before anything is trained."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import reduce
from pathlib import Path
from typing import Any, Literal

from mambacl import settings, toml_files
from mambacl.errors import ConfigError
from mambacl.evaluation import Metric
from mambacl.experiments.experiment import Experiment
from mambacl.experiments.files import read_table
from mambacl.experiments.plugin_modules import Plugins
from mambacl.experiments.tables import merge, nested
from mambacl.settings import Settings
from mambacl.sweeps.grid import beyond, grid
from mambacl.sweeps.halving import Halving
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
    "train.lr" = [5e-4, 1e-3, 2e-3, 4e-3, 8e-3]
    seeds = [0]                      # of the search; other seeds of a row take the values chosen
    method = "halving"               # or "grid", the default: all values are trained to the end
    first = 0.2                      # share of the steps that all values are trained for
    keep = 2                         # of them go on to the end
    extend = 2                       # values that may be tried beyond each edge

    [test]
    episodes = 600

    [plugins]                        # modules that register learners written in Python
    modules = ["my_package.learners"]
    ```

    With `method = "halving"` (successive halving, arXiv:1502.07943) every value is trained until the step
    `first * steps`, on the learning-rate schedule of all steps. The best `keep` on meta-validation at that
    step go on exactly where they stopped, and the best of these, by the best meta-validation of each run, is
    chosen. A value whose training diverges counts as worst. While the best at that step lies at an edge of
    what was tried, the next value beyond is tried as well, by the ratio of the two values at that edge of the
    grid, at most `extend` on each side. That holds for settings of positive numbers, at least one of them a
    float; values that the setting cannot have are not tried. Each learner has the same grid, rungs and limit.

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
    own_modules = settings.read(Plugins, base.get("plugins", {}), "plugins").modules
    modules = list(dict.fromkeys((*own_modules, *form.plugins.modules)))
    base = merge({part: base.get(part, {}) for part in parts}, {part: getattr(form, part) for part in parts})
    search, axes = _search(form.search)
    search_seeds, halving = search.seeds, search.halving(axes)
    rows: list[Row] = []
    for number, learner in enumerate(form.learners):
        row = settings.read(_Row, learner, f"learners[{number}]")
        _check_name(row.name, number)
        changed = merge(base, {part: getattr(row, part) for part in parts})
        changed["plugins"] = {"modules": modules}
        named = f"{file.stem}-{row.name}"
        seeds = form.seeds if row.seeds is None else row.seeds
        made = {values: _experiment(row.name, named, changed, values) for values in grid(axes)}
        further: dict[Values, Experiment] = {}
        for values in [] if halving is None else beyond(axes, halving.extend):
            with suppress(ConfigError):  # a value out of the setting's range
                further[values] = _experiment(row.name, named, changed, values)
        rows.append(Row(row.name, seeds, search_seeds, made, halving, further))
    sweep = Sweep(file.stem, form.purpose, tuple(rows), form.test)
    _check_distinct("learners", (row.name for row in rows))
    _check_distinct("cells", (cell.name for cell in sweep.cells))
    for cell in sweep.cells:
        _check_metric(cell, sweep.metric)
        if halving is not None:
            _check_rung(cell, halving)
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
    plugins: Plugins = field(default_factory=Plugins)


@dataclass(frozen=True)
class _Row(Settings):
    """One of [[learners]]."""

    name: str
    model: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] | None = None


@dataclass(frozen=True)
class _Search(Settings):
    """What [search] has besides values."""

    seeds: tuple[int, ...] = (0,)
    method: Literal["grid", "halving"] = "grid"
    first: float | None = None
    keep: int | None = None
    extend: int | None = None

    def halving(self, axes: Mapping[str, Any]) -> Halving | None:
        """How values are stopped early; None for a full grid."""
        own = {name: getattr(self, name) for name in ("first", "keep", "extend")}
        told = {name: value for name, value in own.items() if value is not None}
        if self.method == "grid":
            for name in told:
                raise ConfigError(
                    f'search: `{name}` must stand beside method = "halving", got method = "grid"'
                )
            return None
        halving, tried = Halving(**told), len(grid(axes))
        if halving.keep >= tried:
            raise ConfigError(
                f"search: `keep` must be below the number of values tried, {tried}, got {halving.keep}"
            )
        return halving


def _search(table: Mapping[str, Any]) -> tuple[_Search, dict[str, list[Any]]]:
    """How is searched, and the values of each setting."""
    names = {one.name for one in fields(_Search)}
    search = settings.read(_Search, {key: table[key] for key in table if key in names}, "search")
    axes = {key: values for key, values in table.items() if key not in names}
    for place, values in axes.items():
        if place.partition(".")[0] not in ("model", "train", "data") or not isinstance(values, list | tuple):
            raise ConfigError(
                "search: must hold lists of values of settings by their full names in quotes, such as "
                f'"train.lr" = [1e-3, 2e-3], besides {", ".join(sorted(names))}, got `{place}` = {values!r}'
            )
        if not values:
            raise ConfigError(f"search: `{place}` must have at least one value, got none")
        alike = any(
            one == other or str(one) == str(other) for one, other in itertools.combinations(values, 2)
        )  # 0 and 0.0 are one value by two names
        if alike or any(isinstance(value, Mapping) for value in values):
            raise ConfigError(f"search: `{place}` must have distinct values and no tables, got {values}")
    return search, {place: [_frozen(value) for value in values] for place, values in axes.items()}


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


def _check_rung(cell: Cell, halving: Halving) -> None:
    try:
        halving.rung(cell.experiment.train)
    except ConfigError as error:
        raise ConfigError(f"learner {cell.learner!r}: {error}") from error


def _check_seeds(what: str, seeds: tuple[int, ...]) -> None:
    if not seeds or len(set(seeds)) != len(seeds) or not all(0 <= seed < 2**64 for seed in seeds):
        raise ConfigError(
            f"sweep: `{what}` must be distinct numbers from 0 to 2^64 - 1, at least one, got {list(seeds)}"
        )
