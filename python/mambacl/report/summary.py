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
            of_matrix = "the mean at the end (its last row), backward transfer and forgetting"
        case VectorMeasurement():
            rows = _vector_rows(measured)
            asked, note = measured.split, "of errors the lower is the better"
            score, curve = measured.metric, measured.error_matrix.anytime_error
            of_matrix = "the errors right after each task (its diagonal) and forgetting"
        case _:
            raise TypeError(f"summary: there is none of {type(measured).__name__}")
    width = max(len(name) for name in rows)
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
            _after_each(score, curve, measured.matrix_episodes, of_matrix),
        ]
    )


def _after_each(score: str, curve: Tensor | None, episodes: int, of_matrix: str) -> str:
    """The score on the tasks read so far, and what R is."""
    if curve is None:
        return (
            "Streams that do not go task after task, each with as many examples, "
            f"have no {score} after each task."
        )
    places = _places(len(curve))
    when = "from the first task to the last" if len(places) == len(curve) else _at(places)
    told = ", ".join(f"{curve[place]:.2f}" for place in places)
    return (
        f"R[i, j] is the {score} on task j after task i, a mean over {episodes} episodes.\n"
        f"From it come {of_matrix}.\n"
        f"Mean {score} on the tasks read so far, {when}: {told}"
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
            "mean accuracy on all tasks at the end": f"{matrix.average_accuracy():.3f}",
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
    """Numbers by task; which tasks' they are, unless all."""
    places = _places(len(values))
    told = ", ".join(f"{float(values[place]):.3f}" for place in places)
    return told if len(places) == len(values) else f"{told} ({_at(places)})"


def _at(places: list[int]) -> str:
    return f"at tasks {', '.join(str(place + 1) for place in places)}"


def _places(count: int, most: int = 10) -> list[int]:
    """The places of at most `most` of many values, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]
