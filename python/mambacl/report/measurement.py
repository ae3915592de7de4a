"""What the learner of a run does on episodes of one kind, with yardsticks beside it: a file of the run."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mambacl import durable
from mambacl.config import LearnerConfig
from mambacl.data import Split
from mambacl.episodes import Episode, EpisodeSource
from mambacl.errors import InvalidValueError, RunError
from mambacl.evaluation import AccuracyMatrix, Scores, accuracy_matrix, evaluate, evaluate_predictor
from mambacl.experiments.trained import Trained
from mambacl.yardsticks import Offline, class_mean, nearest_neighbour, ridge_regression

YARDSTICKS = {
    "nearest neighbour": nearest_neighbour,
    "class mean": class_mean,
    "ridge regression": ridge_regression,
}
"""Predictors without meta-training, on the learner's own inputs."""


@dataclass(frozen=True)
class Measurement:
    """What the learner of a run does on episodes of one kind. Accuracies are shares of 1.

    Attributes:
        name: Of the file, "SPLIT-TASKSxSHOTS".
        experiment: Of the run.
        seed: Of the run.
        step: Training steps that the learner had.
        parameters: Numbers that training adjusts.
        state_bytes: Of one stream after it was read; attention's grows with it, all others' are fixed.
        split: Whose classes were asked.
        tasks: Classes of an episode.
        train_shots: Examples read of each.
        test_shots: Queries asked of each.
        episodes_sha256: Of the first episode: runs with another one were not asked the same.
        accuracy: Of each episode, among the labels observed.
        vocabulary_accuracy: Of each episode, among all symbols.
        nll: Mean negative log-likelihood of each episode, among the labels observed, in nats.
        calibration_error: ECE (arXiv:1706.04599), 15 bins.
        task_accuracy: By the order of tasks in the stream.
        matrix: R[i][j], accuracy on task j after task i; rows end at the diagonal.
        matrix_episodes: Episodes of the matrix.
        yardsticks: Accuracy of each episode, by yardstick, on the same episodes; of "offline training" maybe
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
    accuracy: list[float]
    vocabulary_accuracy: list[float]
    nll: list[float]
    calibration_error: float
    task_accuracy: list[float]
    matrix: list[list[float]]
    matrix_episodes: int
    yardsticks: dict[str, list[float]]

    @property
    def scores(self) -> Scores:
        """The primary accuracy of each episode."""
        return as_scores(self.accuracy)

    @property
    def accuracy_matrix(self) -> AccuracyMatrix:
        """The accuracy matrix."""
        values = torch.full((self.tasks, self.tasks), torch.nan, dtype=torch.float64)
        for i, row in enumerate(self.matrix):
            values[i, : i + 1] = torch.tensor(row, dtype=torch.float64)
        return AccuracyMatrix(values, self.matrix_episodes)

    def save(self, run: Path) -> Path:
        """Writes it into the folder of its run; an older one of the same name is replaced.

        Raises:
            OSError: If it cannot be written.
        """
        file = _file(run, self.name)
        durable.write(file, (json.dumps(asdict(self)) + "\n").encode())
        return file


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
        content: Mapping[str, Any] = json.loads(file.read_bytes())
        return Measurement(**{field.name: content[field.name] for field in fields(Measurement)})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"report: `{file}` cannot be read: {error!r}") from error


def measurement_name(split: Split, tasks: int, train_shots: int) -> str:
    """The name of a measurement's file."""
    return f"{split}-{tasks}x{train_shots}"


def measure(
    trained: Trained,
    split: Split = "test",
    *,
    tasks: int | None = None,
    train_shots: int | None = None,
    episodes: int = 600,
    matrix_episodes: int = 100,
    offline_episodes: int = 0,
) -> Measurement:
    """Measures the learner of a run on episodes 0, 1, ...; those of "validation" and "test" are the same for
    every run of the same data.

    Args:
        trained: The learner.
        split: Whose classes to ask.
        tasks: Classes of an episode; None for as many as in training.
        train_shots: Examples read of each; None for as many as in training.
        episodes: How many, at least 2.
        matrix_episodes: How many for the accuracy matrix, which asks after every task.
        offline_episodes: How many for offline training of the learner's encoder, which takes seconds each; 0
            for none, else from 2 to `episodes`.

    Returns:
        The measurement.

    Raises:
        ConfigError: If there are more tasks than the learner has symbols.
        InvalidValueError: If the split cannot fill such episodes, or a number is too small.
    """
    if offline_episodes and not 2 <= offline_episodes <= episodes:
        raise InvalidValueError(
            f"measure: argument `offline_episodes` must be 0, or from 2 to `episodes` = {episodes}, "
            f"got {offline_episodes}"
        )
    source = trained.experiment.source(split, trained.seed, tasks=tasks, train_shots=train_shots)
    found = evaluate(trained.learner, source, episodes)
    # An experiment's target is classes, so all of these are there.
    assert found.accuracy is not None
    assert found.vocabulary_accuracy is not None
    assert found.nll is not None
    assert found.calibration is not None
    assert found.task_accuracy is not None
    matrix = accuracy_matrix(trained.learner, source, matrix_episodes)
    spec = source.spec
    return Measurement(
        name=measurement_name(split, spec.tasks, spec.train_shots),
        experiment=trained.experiment.name,
        seed=trained.seed,
        step=trained.step,
        parameters=sum(parameter.numel() for parameter in trained.learner.parameters()),
        state_bytes=found.state_bytes,
        split=split,
        tasks=spec.tasks,
        train_shots=spec.train_shots,
        test_shots=spec.test_shots,
        episodes_sha256=_digest(source.episode(0)),
        accuracy=found.accuracy.values.tolist(),
        vocabulary_accuracy=found.vocabulary_accuracy.values.tolist(),
        nll=found.nll.values.tolist(),
        calibration_error=found.calibration.expected_calibration_error,
        task_accuracy=found.task_accuracy.tolist(),
        matrix=[row[: i + 1] for i, row in enumerate(matrix.values.tolist())],
        matrix_episodes=matrix_episodes,
        yardsticks=_yardsticks(trained.experiment.model, source, episodes, offline_episodes),
    )


def _yardsticks(
    model: LearnerConfig, source: EpisodeSource, episodes: int, offline_episodes: int
) -> dict[str, list[float]]:
    predictors: dict[str, tuple[Callable[[Episode], Tensor], int]] = {
        name: (yardstick, episodes) for name, yardstick in YARDSTICKS.items()
    }
    if offline_episodes:
        predictors["offline training"] = (Offline(model.encoder, model.d_model), offline_episodes)
    return {
        name: evaluate_predictor(predictor, source, count).values.tolist()
        for name, (predictor, count) in predictors.items()
    }


def _digest(episode: Episode) -> str:
    tensors = (episode.train_x, episode.train_y, episode.test_x, episode.test_y, episode.codebook)
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(str((tensor.dtype, tuple(tensor.shape))).encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _file(run: Path, name: str) -> Path:
    return run / "evaluations" / f"{name}.json"
