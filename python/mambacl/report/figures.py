"""The figures of a measured run, as files in its folder."""

from __future__ import annotations

from pathlib import Path

import torch

from mambacl import plots
from mambacl.errors import InvalidValueError
from mambacl.experiments.trained import Trained
from mambacl.report.measurement import ClassMeasurement, Measurement, VectorMeasurement, as_scores
from mambacl.training.meta_train import read_history


def draw(trained: Trained, measured: Measurement) -> Path:
    """Draws the figures of a measurement: learning curve, scores, R and, of classes of images, an episode.

    Args:
        trained: The learner and its run.
        measured: What was measured of it.

    Returns:
        The folder they are in.

    Raises:
        OSError: If they cannot be written.
    """
    folder = trained.run.path / "evaluations" / measured.name
    folder.mkdir(parents=True, exist_ok=True)
    ax = plots.learning_curves({measured.experiment: [read_history(trained.run)]})
    plots.save(ax, folder / "learning_curve.png")
    scores = {"the learner": measured.scores}
    scores |= {name: as_scores(values) for name, values in measured.yardsticks.items()}
    match measured:
        case ClassMeasurement():
            plots.save(plots.accuracy_bars(scores, chance=1 / measured.tasks), folder / "accuracy.png")
            if measured.accuracy_matrix is not None:
                plots.save(plots.accuracy_matrix(measured.accuracy_matrix), folder / "accuracy_matrix.png")
        case VectorMeasurement():
            label = measured.metric
            plots.save(plots.error_bars(scores, label=label), folder / "error.png")
            plots.save(plots.error_matrix(measured.error_matrix, label=label), folder / "error_matrix.png")
        case _:
            raise TypeError(f"figures: there are none of {type(measured).__name__}")
    if trained.learner.is_classifier and len(trained.experiment.data.input_shape) == 3:
        _episode(trained, measured, folder / "episode.png")
    return folder


def _episode(trained: Trained, measured: Measurement, file: Path) -> None:
    """The first meta-validation episode of the sizes measured: pictures of meta-test classes stay for the one
    look at the end. The examples of a task, a row, stand beside one another, so none is drawn of other
    streams; nor where meta-validation has too few classes or examples."""
    sizes = {"tasks": measured.tasks, "train_shots": measured.train_shots}
    try:
        source = trained.experiment.source("validation", **sizes)
    except InvalidValueError:
        return
    if not source.spec.task_by_task:
        return
    episode = source.batch(0, 1)
    learner = trained.learner
    with torch.no_grad():
        asked = episode.to(learner.device)
        state = learner.observe(learner.init_state(codebook=asked.codebook), asked.train_x, asked.train_y)
        answers = state.answers(learner.predict(state, asked.test_x)).cpu()
    ax = plots.episode_images(
        episode.train_x[0], episode.test_x[0], episode.test_y[0], answers[0], tasks=source.spec.tasks
    )
    plots.save(ax, file)
