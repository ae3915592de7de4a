"""Runs beside one another: settings that differ, seeds as rows, differences in pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Protocol

from mambacl.errors import RunError
from mambacl.evaluation import Interval, Metric, Scores, over_seeds, paired_difference, paired_over_seeds
from mambacl.experiments.trained import run_experiment, run_settings
from mambacl.report.group_names import Flat, flat, group_names
from mambacl.report.measurement import (
    Measurement,
    measurement_name,
    measurement_names,
    read_measurement,
)
from mambacl.runs import RunFolder
from mambacl.training import History
from mambacl.training.meta_train import read_history

LEVELS = (0.5, 0.8)
"""Training accuracies whose first steps are compared; of classes only."""


@dataclass(frozen=True)
class Member:
    """One run of a group.

    Attributes:
        path: Its folder.
        seed: Of the run.
        history: What its training measured.
        measured: What it does on test episodes; None before `mambacl evaluate`.
    """

    path: Path
    seed: int
    history: History
    measured: Measurement | None

    @property
    def steps_to(self) -> list[int | None]:
        """The first step of each of `LEVELS`."""
        return [self.history.steps_to(level) for level in LEVELS]


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seeds only.

    Attributes:
        name: What tells it from the other groups; see `group_names`.
        members: By seed.
    """

    name: str
    members: list[Member]

    @property
    def score(self) -> Interval | None:
        """Over seeds, by t; None while a run has not been evaluated."""
        measured = self.measured
        return None if measured is None else over_seeds([one.scores.mean for one in measured.values()])

    @property
    def measured(self) -> dict[int, Measurement] | None:
        """By seed; None while a run has not been evaluated."""
        found = {member.seed: member.measured for member in self.members if member.measured is not None}
        return found if len(found) == len(self.members) else None

    def median_steps_to(self, level: int) -> float | None:
        """The median over seeds of the steps to a level; None if half of them never reached it."""
        steps = [member.steps_to[level] for member in self.members]
        middle = median(float("inf") if step is None else step for step in steps)
        return None if middle == float("inf") else middle


@dataclass(frozen=True)
class Comparison:
    """Groups of runs, and the first one's difference from each other.

    Attributes:
        evaluation: The name of the measurement compared.
        metric: What its scores are.
        groups: In the order their first runs were given.
        differences: First group minus another on identical episodes, by the other's name; None where the
            seeds or episodes are not the same.
    """

    evaluation: str
    metric: Metric
    groups: list[Group]
    differences: Mapping[str, Interval | None]


def compare(paths: Sequence[Path], evaluation: str | None = None) -> Comparison:
    """Reads runs and puts them side by side.

    Args:
        paths: Folders of runs.
        evaluation: The name of a measurement, such as "test-20x5"; None for test episodes of the sizes that
            the first run trained on.

    Returns:
        The comparison.

    Raises:
        RunError: If there is no run, one stands twice, one cannot be read, they are scored differently,
            those of the same settings began with different data, or none has the measurement named.
    """
    if not paths:
        raise RunError("compare: argument `runs` must name at least one folder, got none")
    runs = [RunFolder.open(path) for path in paths]
    experiments = [run_experiment(run) for run in runs]
    metric = experiments[0][0].metric
    for run, (experiment, _) in zip(runs, experiments, strict=True):
        if experiment.metric != metric:
            raise RunError(
                f"compare: all runs must be scored by {metric.name}, as the first, got "
                f"{experiment.metric.name} in `{run.path}`"
            )
    if evaluation is None:
        data = experiments[0][0].data
        evaluation = measurement_name("test", data.tasks, data.train_shots)
    else:
        _check_evaluation(evaluation, paths)
    groups: dict[Flat, list[Member]] = {}
    first_runs: dict[Flat, RunFolder] = {}
    for run, (experiment, seed) in zip(runs, experiments, strict=True):
        settings = run_settings(experiment, seed)
        del settings["seed"]  # the rest is what seeds share
        members = groups.setdefault(flat(settings), [])
        first = first_runs.setdefault(flat(settings), run)
        if name := _other_data(first, run):
            raise RunError(
                f"compare: runs of the same settings must be of the same data, got `{run.path}`, which began "
                f"with another version of {name} than `{first.path}`"
            )
        if any(member.seed == seed for member in members):
            raise RunError(
                f"compare: seed {seed} of the same settings stands twice, the second in `{run.path}`"
            )
        members.append(Member(run.path, seed, read_history(run), read_measurement(run.path, evaluation)))
    named = [
        Group(name, sorted(members, key=lambda member: member.seed))
        for name, members in zip(group_names(list(groups)), groups.values(), strict=True)
    ]
    differences = {other.name: _group_difference(named[0], other) for other in named[1:]}
    return Comparison(evaluation, metric, named, differences)


def _check_evaluation(evaluation: str, paths: Sequence[Path]) -> None:
    """That a measurement of this name was made of at least one run."""
    known = sorted({name for path in paths for name in measurement_names(path)})
    if evaluation not in known:
        there = (
            f"one of {', '.join(known)}" if known else "made before, and none was (see `mambacl evaluate`)"
        )
        raise RunError(f"compare: argument `evaluation` must be {there}, got {evaluation!r}")


def _other_data(one: RunFolder, other: RunFolder) -> str | None:
    """What two runs began with different versions of, if they remember it."""
    known = one.data or {}
    return next((k for k, digest in (other.data or {}).items() if known.get(k, digest) != digest), None)


class Asked(Protocol):
    """What a model was asked and how it answered."""

    @property
    def scores(self) -> Scores:
        """Of each episode."""
        ...

    @property
    def episodes_sha256(self) -> str:
        """Of the first episode."""
        ...


def difference(a: Mapping[int, Asked], b: Mapping[int, Asked]) -> Interval | None:
    """The mean difference of two methods on identical episodes.

    Args:
        a: Of one method, by seed.
        b: Of the other.

    Returns:
        The interval over seeds, of a single seed over its episodes; None where the seeds or episodes are not
        the same.
    """
    if not a or a.keys() != b.keys() or any(_asked(a[seed]) != _asked(b[seed]) for seed in a):
        return None
    pairs = [(a[seed].scores, b[seed].scores) for seed in a]
    if len(pairs) == 1:
        return paired_difference(*pairs[0])
    return paired_over_seeds([one for one, _ in pairs], [other for _, other in pairs])


def _asked(measured: Asked) -> tuple[int, str]:
    """Which episodes a measurement is of."""
    return len(measured.scores.values), measured.episodes_sha256


def _group_difference(first: Group, other: Group) -> Interval | None:
    a, b = first.measured, other.measured
    return None if a is None or b is None else difference(a, b)
