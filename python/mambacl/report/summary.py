"""A measurement in the words of a table."""

from __future__ import annotations

from mambacl.evaluation import paired_difference
from mambacl.report.measurement import Measurement, as_scores


def summary(measured: Measurement) -> str:
    """A measurement as a table to print.

    Args:
        measured: What was measured.

    Returns:
        Lines of text.
    """
    matrix = measured.accuracy_matrix
    episodes = len(measured.accuracy)
    rows = {
        "accuracy among the labels observed": str(measured.scores),
        "accuracy in the whole vocabulary": str(as_scores(measured.vocabulary_accuracy)),
        "negative log-likelihood, nats": str(as_scores(measured.nll)),
        "expected calibration error": f"{measured.calibration_error:.3f}",
        **{name: _yardstick(measured, values) for name, values in measured.yardsticks.items()},
    }
    yardsticks = {
        f"the learner minus {name}": paired_difference(
            as_scores(measured.accuracy[: len(values)]), as_scores(values)
        )
        for name, values in measured.yardsticks.items()
    }
    rows |= {
        name: f"{interval.mean:+.3f} ± {interval.half_width or 0:.3f}"
        for name, interval in yardsticks.items()
    }
    rows |= {
        "average accuracy of the last row of R": f"{matrix.average_accuracy():.3f}",
        "backward transfer (arXiv:1706.08840)": f"{matrix.backward_transfer():+.3f}",
        "forgetting (arXiv:1801.10112)": f"{matrix.forgetting():+.3f}",
    }
    width = max(len(name) for name in rows)
    curve = ", ".join(f"{value:.2f}" for value in _thinned(matrix.anytime_accuracy.tolist()))
    return "\n".join(
        [
            f"{measured.experiment}, seed {measured.seed}, after {measured.step} steps: "
            f"{measured.parameters:,} parameters, a state of {measured.state_bytes:,} bytes",
            f"{episodes} episodes of {measured.split} classes, {measured.tasks} tasks x "
            f"{measured.train_shots} shots, {measured.test_shots} queries a task,",
            f"chance {1 / measured.tasks:.3f}; ± is the 95 % interval over episodes, for this one model",
            "",
            *(f"  {name:<{width}}  {value}" for name, value in rows.items()),
            "",
            f"R, forgetting and transfer are over {measured.matrix_episodes} episodes. "
            f"Mean accuracy on the tasks read so far, from the first task to the last: {curve}",
        ]
    )


def _yardstick(measured: Measurement, values: list[float]) -> str:
    count = "" if len(values) == len(measured.accuracy) else f" (of the first {len(values)} episodes)"
    return f"{as_scores(values)}{count}"


def _thinned(values: list[float], most: int = 10) -> list[float]:
    """At most `most` of many values, the first and the last among them."""
    if len(values) <= most:
        return values
    return [values[round(i * (len(values) - 1) / (most - 1))] for i in range(most)]
