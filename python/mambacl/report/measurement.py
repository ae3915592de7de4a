"""What the learner of a run does on episodes of one kind, with yardsticks beside it: a file of the run."""

from __future__ import annotations

import json
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mambacl import durable, reading
from mambacl.data import Split
from mambacl.errors import RunError
from mambacl.evaluation import SQUARED_ERROR, AccuracyMatrix, ErrorMatrix, Scores
from mambacl.experiments.trained import Which


@dataclass(frozen=True)
class Measurement(ABC):
    """What the learner of a run does on episodes of one kind. Those of classes and of vectors derive from it.

    Attributes:
        name: Of the file, "SPLIT-TASKSxSHOTS", and of a checkpoint other than the best "-last" or "-step-N".
        experiment: Of the run.
        seed: Of the run.
        step: Training steps that the learner had.
        parameters: Numbers that training adjusts.
        state_bytes: Of one stream after it was read; attention's grows with it, all others' are fixed.
        split: Of the episodes.
        tasks: Of an episode.
        train_shots: Examples read of each.
        test_shots: Queries asked of each.
        episodes_sha256: Of the first episode: runs with another one were not asked the same.
        matrix: R[i][j], the score on task j after task i; rows end at the diagonal. Empty where streams do
            not go task after task, each with as many examples.
        matrix_episodes: Episodes of the matrix.
        yardsticks: The score of each episode, by yardstick, on the same episodes; of "offline training" maybe
            only of the first ones.
    """

    name: str
    experiment: str
    seed: int
    step: int
    parameters: int
    state_bytes: int
    split: Split
    tasks: int
    train_shots: int
    test_shots: int
    episodes_sha256: str
    matrix: list[list[float]]
    matrix_episodes: int
    yardsticks: dict[str, list[float]]

    @property
    @abstractmethod
    def scores(self) -> Scores:
        """The primary score of each episode."""

    @property
    def matrix_values(self) -> Tensor:
        """R, (tasks, tasks) float64; NaN above the diagonal, and everywhere if there is none."""
        values = torch.full((self.tasks, self.tasks), torch.nan, dtype=torch.float64)
        for i, row in enumerate(self.matrix):
            values[i, : i + 1] = torch.tensor(row, dtype=torch.float64)
        return values

    def save(self, run: Path) -> Path:
        """Writes it into the folder of its run; an older one of the same name is replaced.

        Raises:
            OSError: If it cannot be written.
        """
        file = _file(run, self.name)
        durable.write(file, (json.dumps(asdict(self)) + "\n").encode())
        return file


@dataclass(frozen=True)
class ClassMeasurement(Measurement):
    """What a learner of classes does. Accuracies are shares of 1; scores are accuracies.

    Attributes:
        accuracy: Of each episode, among the labels observed.
        vocabulary_accuracy: Of each episode, among all symbols.
        nll: Mean negative log-likelihood of each episode, among the labels observed, in nats.
        calibration_error: ECE (arXiv:1706.04599), 15 bins.
        task_accuracy: By the order of tasks in the stream.
    """

    accuracy: list[float]
    vocabulary_accuracy: list[float]
    nll: list[float]
    calibration_error: float
    task_accuracy: list[float]

    @property
    def scores(self) -> Scores:
        """The primary accuracy of each episode."""
        return as_scores(self.accuracy)

    @property
    def accuracy_matrix(self) -> AccuracyMatrix | None:
        """The accuracy matrix; None where streams do not go task after task."""
        return AccuracyMatrix(self.matrix_values, self.matrix_episodes) if self.matrix else None


@dataclass(frozen=True)
class VectorMeasurement(Measurement):
    """What a learner of vectors does. Scores are errors: lower is better.

    Attributes:
        error: Of each episode.
        task_error: By the order of tasks in the stream.
        metric: The name of the error.
    """

    error: list[float]
    task_error: list[float]
    metric: str

    @property
    def scores(self) -> Scores:
        """The error of each episode."""
        return as_scores(self.error)

    @property
    def error_matrix(self) -> ErrorMatrix:
        """The error matrix."""
        return ErrorMatrix(self.matrix_values, self.matrix_episodes)


def prepare(run: Path) -> None:
    """Makes the folder of a run's measurements, and tries whether it can be written: better now than after an
    hour of measuring.

    Raises:
        OSError: If it cannot.
    """
    folder = _file(run, "any").parent
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def as_scores(values: list[float]) -> Scores:
    """Numbers of episodes as scores."""
    return Scores(torch.tensor(values, dtype=torch.float64))


def read_measurement(run: Path, name: str) -> Measurement | None:
    """Reads a measurement of a run; None if it has not been made.

    Raises:
        RunError: If the file is damaged or of another version.
    """
    file = _file(run, name)
    try:
        content: Mapping[str, Any] = reading.read_json(file)
        kind = VectorMeasurement if "error" in content else ClassMeasurement
        content = {"metric": SQUARED_ERROR.name, **content}  # the only error once, and not written then
        return kind(**{field.name: content[field.name] for field in fields(kind)})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"report: `{file}` cannot be read: {error!r}") from error


def measurement_names(run: Path) -> list[str]:
    """The names of a run's measurements, in order."""
    return sorted(file.stem for file in _file(run, "any").parent.glob("[!.]*.json"))


def measurement_name(split: Split, tasks: int, train_shots: int, which: Which = "best") -> str:
    """The name of a measurement's file."""
    checkpoint = {"best": "", "last": "-last"}.get(str(which), f"-step-{which}")
    return f"{split}-{tasks}x{train_shots}{checkpoint}"


def _file(run: Path, name: str) -> Path:
    return run / "evaluations" / f"{name}.json"
