"""Measuring what the learner of a run does, with yardsticks on the same episodes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from mambacl.data import Split
from mambacl.episodes import Episode, EpisodeSizes
from mambacl.errors import InvalidValueError
from mambacl.evaluation import (
    Evaluation,
    Metric,
    accuracy_matrix,
    error_matrix,
    evaluate,
    evaluate_predictor,
)
from mambacl.experiments.same_data import check_data
from mambacl.experiments.trained import Trained
from mambacl.report.measurement import ClassMeasurement, Measurement, VectorMeasurement, measurement_name
from mambacl.yardsticks import (
    Offline,
    class_mean,
    mean_target,
    nearest_neighbour,
    ridge_regression,
    zero,
)

Yardstick = Callable[[Episode], Tensor]
"""A predictor without meta-training, on the learner's own inputs."""

CLASS_YARDSTICKS: dict[str, Yardstick] = {
    "nearest neighbour": nearest_neighbour,
    "class mean": class_mean,
    "ridge regression": ridge_regression,
}
MEAN_TARGET = "mean of the stream's targets"
VECTOR_YARDSTICKS: dict[str, Yardstick] = {
    "nearest input's target": nearest_neighbour,
    "ridge regression": ridge_regression,
    MEAN_TARGET: mean_target,
    "zero": zero,
}


def measure(
    trained: Trained,
    split: Split = "test",
    *,
    tasks: int | None = None,
    train_shots: int | None = None,
    episodes: int = 600,
    matrix_episodes: int = 100,
    offline_episodes: int = 0,
    other_data: bool = False,
) -> Measurement:
    """Measures the learner of a run on episodes 0, 1, ...; those of "validation" and "test" are the same for
    every run of the same data.

    Args:
        trained: The learner.
        split: Of the episodes.
        tasks: Of an episode; None for as many as in training.
        train_shots: Examples read of each; None for as many as in training.
        episodes: How many, at least 2.
        matrix_episodes: How many for R, which asks after every task; there is none where streams do not go
            task after task.
        offline_episodes: How many for offline training of the learner's encoder, which takes seconds each; 0
            for none, else from 2 to `episodes`. Of classes only.
        other_data: Whether to measure though the data have changed since the run began.

    Returns:
        The measurement.

    Raises:
        RunError: If the data have changed since the run began.
        ConfigError: If there are more tasks than the learner has symbols, or a size is out of its range.
        InvalidValueError: If the split cannot fill such episodes, or a number is out of its range.
    """
    if offline_episodes and not 2 <= offline_episodes <= episodes:
        raise InvalidValueError(
            f"measure: argument `offline_episodes` must be 0, or from 2 to `episodes` = {episodes}, "
            f"got {offline_episodes}"
        )
    learner = trained.learner
    if offline_episodes and not learner.is_classifier:
        raise InvalidValueError(
            "measure: argument `offline_episodes` must be 0 where targets are vectors: it trains a classifier"
        )
    check_data(trained.run, trained.experiment, [split], other_data=other_data)
    source = trained.experiment.source(split, trained.seed, tasks=tasks, train_shots=train_shots)
    metric = trained.experiment.metric
    spec = source.spec
    batch_size = _batch_size(spec)
    found = evaluate(learner, source, episodes, batch_size=batch_size)
    yardsticks: dict[str, tuple[Yardstick, int]] = {
        name: (yardstick, episodes)
        for name, yardstick in (CLASS_YARDSTICKS if learner.is_classifier else VECTOR_YARDSTICKS).items()
    }
    if offline_episodes:
        model = trained.experiment.model
        yardsticks["offline training"] = (Offline(model.encoder, model.d_model), offline_episodes)
    matrix: list[list[float]] = []
    if spec.task_by_task:
        matrix_of = accuracy_matrix if learner.is_classifier else error_matrix
        matrix = matrix_of(learner, source, matrix_episodes, batch_size=batch_size).values.tolist()
    make = partial(
        ClassMeasurement if learner.is_classifier else VectorMeasurement,
        name=measurement_name(split, spec.tasks, spec.train_shots, trained.which),
        experiment=trained.experiment.name,
        seed=trained.seed,
        step=trained.step,
        parameters=sum(parameter.numel() for parameter in learner.parameters()),
        state_bytes=found.state_bytes,
        split=split,
        tasks=spec.tasks,
        train_shots=spec.train_shots,
        test_shots=spec.test_shots,
        episodes_sha256=_digest(source.batch(0, 1)),
        matrix=[row[: i + 1] for i, row in enumerate(matrix)],
        matrix_episodes=matrix_episodes if matrix else 0,
        yardsticks={
            name: evaluate_predictor(
                predictor, source, count, batch_size=batch_size, metric=metric
            ).values.tolist()
            for name, (predictor, count) in yardsticks.items()
        },
    )
    return make(**_of_classes(found) if learner.is_classifier else _of_vectors(found, metric))


def _batch_size(spec: EpisodeSizes) -> int:
    """Episodes at a time: 20, or fewer long ones, for Ctrl-C waits until the engine has read them."""
    return max(1, min(20, 2_000 // (spec.tasks * max(spec.train_shots, spec.test_shots))))


def _of_classes(found: Evaluation) -> dict[str, Any]:
    """What only a `ClassMeasurement` has."""
    assert found.accuracy is not None
    assert found.vocabulary_accuracy is not None
    assert found.nll is not None
    assert found.calibration is not None
    assert found.task_accuracy is not None
    return {
        "accuracy": found.accuracy.values.tolist(),
        "vocabulary_accuracy": found.vocabulary_accuracy.values.tolist(),
        "nll": found.nll.values.tolist(),
        "calibration_error": found.calibration.expected_calibration_error,
        "task_accuracy": found.task_accuracy.tolist(),
    }


def _of_vectors(found: Evaluation, metric: Metric) -> dict[str, Any]:
    """What only a `VectorMeasurement` has."""
    assert found.task_loss is not None
    return {
        "error": found.loss.values.tolist(),
        "task_error": found.task_loss.tolist(),
        "metric": metric.name,
    }


def _digest(episode: Episode) -> str:
    tensors = (episode.train_x, episode.train_y, episode.test_x, episode.test_y, episode.codebook)
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(str((tensor.dtype, tuple(tensor.shape))).encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
