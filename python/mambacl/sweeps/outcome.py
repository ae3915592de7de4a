"""What one cell of a sweep came to: a small JSON file, from which tables are made without the run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mambacl import durable, reading, settings
from mambacl.errors import ConfigError, RunError
from mambacl.evaluation import ACCURACY, Metric, Scores
from mambacl.evaluation.scores import STANDARD_ERRORS
from mambacl.experiments.experiment import Experiment
from mambacl.experiments.trained import run_settings, stored_experiment
from mambacl.report.measuring import MEAN_TARGET
from mambacl.settings import Settings
from mambacl.sweeps.sweep import Cell

MeanAndInterval = tuple[float, float]
"""A mean over episodes, and half its 95 % interval."""


@dataclass(frozen=True)
class OnTest(Settings):
    """What the best checkpoint of a cell does on test episodes of classes, looked at once.

    Attributes:
        step: Training steps it had.
        tasks: Classes of an episode.
        queries: Of an episode.
        episodes_sha256: Of the first episode.
        right: Queries of each episode answered right, among the labels observed.
        vocabulary_accuracy: Among all symbols.
        nll: Negative log-likelihood, in nats.
        calibration_error: ECE, 15 bins.
        forgetting: Of arXiv:1801.10112; None where streams do not go task after task.
        task_accuracy: By the order of tasks in the stream.
        yardsticks: Accuracies on the same episodes.
    """

    step: int
    tasks: int
    queries: int
    episodes_sha256: str
    right: tuple[int, ...]
    vocabulary_accuracy: MeanAndInterval
    nll: MeanAndInterval
    calibration_error: float
    forgetting: float | None
    task_accuracy: tuple[float, ...]
    yardsticks: dict[str, MeanAndInterval]

    @property
    def scores(self) -> Scores:
        """The accuracy of each episode."""
        return Scores(torch.tensor(self.right, dtype=torch.float64) / self.queries)


@dataclass(frozen=True)
class VectorsOnTest(Settings):
    """What the best checkpoint of a cell does on test episodes of vectors, looked at once.

    Attributes:
        step: Training steps it had.
        tasks: Of an episode.
        queries: Of an episode.
        episodes_sha256: Of the first episode.
        errors: Mean error of each episode, by the metric of the experiment.
        forgetting: The rise of the error, after arXiv:1801.10112.
        task_error: By the order of tasks in the stream.
        yardsticks: Errors on the same episodes.
    """

    step: int
    tasks: int
    queries: int
    episodes_sha256: str
    errors: tuple[float, ...]
    forgetting: float
    task_error: tuple[float, ...]
    yardsticks: dict[str, MeanAndInterval]

    @property
    def scores(self) -> Scores:
        """The error of each episode."""
        return Scores(torch.tensor(self.errors, dtype=torch.float64))

    @property
    def on_plateau(self) -> bool:
        """Whether the error is not more than 2 standard errors below that of the stream's mean target."""
        reference, _ = self.yardsticks[MEAN_TARGET]
        return self.scores.mean > reference - 2 * self.scores.standard_error


@dataclass(frozen=True)
class Outcome(Settings):
    """What one cell came to.

    Attributes:
        learner: The row.
        seed: Of the run.
        values: Of the settings that are searched, by their full names.
        settings: All of the run's.
        diverged: Where training ended for a number that was not finite; None if it did not.
        steps: Done.
        seconds: Of training, meta-validations included.
        step_seconds: The median of a step, its episodes drawn.
        threads: Of the process.
        jobs: Cells that were trained beside one another.
        validations: Step, score (accuracy or error), half its 95 % interval, and the seconds since training
            began.
        parameters: Numbers that training adjusts.
        state_bytes: Of one stream, by the number of tasks it has read.
        inference: Episodes a second, read and answered, in batches of 20.
        versions: Of the software that trained.
        test: None before the learner's values are chosen, or where this cell has others.

    A value that a search stops early has an outcome of fewer steps than its settings say.
    """

    learner: str
    seed: int
    values: dict[str, Any]
    settings: dict[str, Any]
    diverged: str | None
    steps: int
    seconds: float
    step_seconds: float
    threads: int
    jobs: int
    validations: tuple[tuple[int, float, float, float], ...]
    parameters: int
    state_bytes: dict[str, int]
    inference: float
    versions: dict[str, str]
    test: OnTest | VectorsOnTest | None = None

    def best_validation(self, metric: Metric) -> float:
        """The best score on meta-validation, which values are chosen by; the metric's worst where there is
        none."""
        return metric.best(() if self.diverged else (score for _, score, _, _ in self.validations))

    def validation_at(self, step: int, metric: Metric) -> float:
        """The score on meta-validation at a step; the metric's worst where there is none."""
        return metric.best(score for at, score, _, _ in self.validations if at == step)

    def reached(self, steps: int) -> bool:
        """Whether there is nothing left to train up to a step: training got there, or diverged before."""
        return self.diverged is not None or self.steps >= steps

    @property
    def experiment(self) -> Experiment:
        """What it is a run of."""
        return stored_experiment({key: value for key, value in self.settings.items() if key != "seed"})

    @property
    def complete(self) -> bool:
        """Whether it stands in the table: nothing is left to do."""
        return self.test is not None or self.diverged is not None

    @property
    def on_plateau(self) -> bool:
        """Whether nothing was learned. Of classes: the last meta-validation is within 2 standard errors of
        chance; of vectors: what the test says."""
        if isinstance(self.test, VectorsOnTest):
            return self.test.on_plateau
        experiment = self.experiment
        if not self.validations or experiment.metric != ACCURACY:
            return False
        _, accuracy, interval, _ = self.validations[-1]
        return abs(accuracy - 1 / experiment.data.tasks) <= 2 * interval / STANDARD_ERRORS + 1e-9


class Results:
    """The outcomes of a sweep, a file for each cell.

    Args:
        folder: Where they are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, cell: Cell) -> Path:
        """Of a cell."""
        return self.folder / "cells" / f"{cell.name}.json"

    def read(self, cell: Cell) -> Outcome | None:
        """The outcome of a cell; None if there is none yet.

        Raises:
            RunError: If the file is damaged, of another version, or of other settings than the cell's.
        """
        file = self.file(cell)
        try:
            table: Mapping[str, Any] = reading.read_json(file)
            outcome = settings.read(Outcome, table, "outcome")
            same = run_settings(outcome.experiment, outcome.seed) == run_settings(cell.experiment, cell.seed)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, ConfigError) as error:
            raise RunError(f"sweep: `{file}` cannot be read: {error}") from error
        if not same:
            raise RunError(
                f"sweep: `{file}` is of other settings than the sweep's; remove it and its run, or choose "
                "other folders (--results, --runs)"
            )
        return outcome

    def write(self, cell: Cell, outcome: Outcome) -> Path:
        """Writes the outcome of a cell, a line for each field.

        Raises:
            OSError: If it cannot be written.
        """
        lines = [
            f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}"
            for key, value in settings.table(outcome).items()
        ]
        file = self.file(cell)
        file.parent.mkdir(parents=True, exist_ok=True)
        durable.write(file, ("{\n" + ",\n".join(lines) + "\n}\n").encode())
        return file
