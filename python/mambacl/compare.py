"""Runs beside one another: settings that differ, seeds as rows, and learning curves in one figure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Annotated, Any

import matplotlib as mpl
import tyro

from mambacl import plots
from mambacl.errors import DataError
from mambacl.training import History, StepRecord, ValidationRecord


@dataclass(frozen=True)
class Compare:
    """Compare finished demo runs: seeds of the same settings form a group.

    Attributes:
        runs: Folders that `mambacl demo` wrote.
        plot: File for the learning curves, a line for each group; None for no figure.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    plot: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None


@dataclass(frozen=True)
class Run:
    """What a demo wrote."""

    settings: dict[str, Any]
    scores: dict[str, dict[str, float]]
    history: History

    @property
    def group(self) -> tuple[tuple[str, Any], ...]:
        """The settings that seeds of one experiment share."""
        return tuple((k, v) for k, v in sorted(self.settings.items()) if k not in ("seed", "out"))


def read(folder: Path) -> Run:
    """Reads the results of a run.

    Args:
        folder: That `mambacl demo` wrote.

    Returns:
        Its settings and measurements.

    Raises:
        DataError: If there is no results.json, or it is none of ours.
    """
    path = folder / "results.json"
    try:
        results = json.loads(path.read_text())
        history = History(
            [StepRecord(**record) for record in results["steps"]],
            [ValidationRecord(**record) for record in results["validations"]],
        )
        return Run(results["settings"], results["scores"], history)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"compare: `{path}` must hold the results of a run, got {error!r}") from error


def run(compare: Compare) -> str:
    """The table, and the figure if asked for.

    Args:
        compare: The runs.

    Returns:
        A table to print.

    Raises:
        DataError: If there is no run, or one cannot be read.
    """
    runs = [read(folder) for folder in compare.runs]
    if not runs:
        raise DataError("compare: argument `runs` must name at least one folder, got none")
    groups: dict[tuple[tuple[str, Any], ...], list[Run]] = {}
    for one in sorted(runs, key=lambda one: one.settings["seed"]):
        groups.setdefault(one.group, []).append(one)
    names = _names(list(groups))
    if compare.plot is not None:
        mpl.use("agg")
        curves = {
            name: [one.history for one in members]
            for name, members in zip(names, groups.values(), strict=True)
        }
        ax = plots.learning_curves(curves)
        compare.plot.parent.mkdir(parents=True, exist_ok=True)
        plots.save(ax, compare.plot)
    tables = [_table(name, members) for name, members in zip(names, groups.values(), strict=True)]
    return "\n\n".join(tables)


def _names(groups: list[tuple[tuple[str, Any], ...]]) -> list[str]:
    """Each group by the settings in which groups differ."""
    common = set.intersection(*(set(group) for group in groups))
    named = [", ".join(f"{k} {v}" for k, v in group if (k, v) not in common) for group in groups]
    return [name or "all runs" for name in named]


def _table(name: str, runs: list[Run]) -> str:
    levels = (0.5, 0.8)
    lines = [name, "  seed  test accuracy   steps to 0.5  steps to 0.8"]
    reached: dict[float, list[float]] = {level: [] for level in levels}
    for one in runs:
        score = one.scores["MambaCL"]
        steps = [one.history.steps_to(level) for level in levels]
        for level, step in zip(levels, steps, strict=True):
            reached[level].append(float("inf") if step is None else step)
        cells = "".join(f"{'-' if step is None else step:>14}" for step in steps)
        lines.append(f"  {one.settings['seed']:>4}  {score['mean']:.3f} ± {score['interval_95']:.3f}{cells}")
    accuracy = mean(one.scores["MambaCL"]["mean"] for one in runs)
    medians = "".join(f"{_steps(median(reached[level])):>14}" for level in levels)
    lines.append(f"  mean  {accuracy:.3f}     median{medians[1:]}")
    return "\n".join(lines)


def _steps(value: float) -> str:
    return "-" if value == float("inf") else f"{value:g}"
