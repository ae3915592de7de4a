"""A measurement in the words of a table."""

from __future__ import annotations

import math

from torch import Tensor

from mambacl.evaluation import paired_difference
from mambacl.report.measurement import ClassMeasurement, Measurement, VectorMeasurement, as_scores

Rows = dict[str, str]
"""What a table says, by its names."""


def summary(measured: Measurement) -> str:
    """A measurement as a table to print.

    Args:
        measured: What was measured.

    Returns:
        Lines of text.
    """
    match measured:
        case ClassMeasurement():
            rows = _class_rows(measured)
            asked, note = f"{measured.split} classes", f"chance {1 / measured.tasks:.3f}"
            score, matrix = "accuracy", measured.accuracy_matrix
            curve = None if matrix is None else matrix.anytime_accuracy
        case VectorMeasurement():
            rows = _vector_rows(measured)
            asked, note = measured.split, "of errors the lower is the better"
            score, curve = measured.metric, measured.error_matrix.anytime_error
        case _:
            raise TypeError(f"summary: there is none of {type(measured).__name__}")
    width = max(len(name) for name in rows)
    if curve is None:
        anytime = "There is no R of streams that do not go task after task, each with as many examples."
    else:
        anytime = (
            f"R and what is said of it are over {measured.matrix_episodes} episodes. Mean {score} on the "
            "tasks read so far, from the first task to the last: "
            f"{', '.join(f'{value:.2f}' for value in _thinned(curve.tolist()))}"
        )
    return "\n".join(
        [
            f"{measured.experiment}, seed {measured.seed}, after {measured.step} steps: "
            f"{measured.parameters:,} parameters, a state of {measured.state_bytes:,} bytes",
            f"{len(measured.scores.values)} episodes of {asked}, {measured.tasks} tasks x "
            f"{measured.train_shots} shots, {measured.test_shots} queries a task,",
            f"{note}; ± is the 95 % interval over episodes, for this one model",
            "",
            *(f"  {name:<{width}}  {value}" for name, value in rows.items()),
            "",
            anytime,
        ]
    )


def _class_rows(measured: ClassMeasurement) -> Rows:
    rows = {
        "accuracy among the labels observed": str(measured.scores),
        "accuracy in the whole vocabulary": str(as_scores(measured.vocabulary_accuracy)),
        "negative log-likelihood, nats": str(as_scores(measured.nll)),
        "expected calibration error": f"{measured.calibration_error:.3f}",
        **_beside_yardsticks(measured),
    }
    if (matrix := measured.accuracy_matrix) is not None:
        rows |= {
            "average accuracy of the last row of R": f"{matrix.average_accuracy():.3f}",
            "backward transfer (arXiv:1706.08840)": _signed(matrix.backward_transfer()),
            "forgetting (arXiv:1801.10112)": _signed(matrix.forgetting()),
        }
    return rows


def _vector_rows(measured: VectorMeasurement) -> Rows:
    matrix = measured.error_matrix
    return {
        f"mean {measured.metric}": str(measured.scores),
        **_beside_yardsticks(measured),
        "by task, in the order of the stream": _told(measured.task_error),
        "right after each task was read": _told(matrix.values.diagonal()),
        "forgetting, the rise of the error": _signed(matrix.forgetting()),
    }


def _beside_yardsticks(measured: Measurement) -> Rows:
    """The yardsticks' scores, and how the learner's differ on the same episodes."""
    scores = measured.scores.values
    told: Rows = {}
    differences: Rows = {}
    for name, values in measured.yardsticks.items():
        count = "" if len(values) == len(scores) else f" (of the first {len(values)} episodes)"
        told[name] = f"{as_scores(values)}{count}"
        interval = paired_difference(as_scores(scores[: len(values)].tolist()), as_scores(values))
        differences[f"the learner minus {name}"] = interval.told("+.3f")
    return told | differences


def _signed(value: float) -> str:
    """A number with its sign; a dash where there is none, as there is no forgetting of a single task."""
    return "-" if math.isnan(value) else f"{value:+.3f}"


def _told(values: list[float] | Tensor) -> str:
    return ", ".join(f"{value:.3f}" for value in _thinned([float(value) for value in values]))


def _thinned(values: list[float], most: int = 10) -> list[float]:
    """At most `most` of many values, the first and the last among them."""
    if len(values) <= most:
        return values
    return [values[round(i * (len(values) - 1) / (most - 1))] for i in range(most)]
