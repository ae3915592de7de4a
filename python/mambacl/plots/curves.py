"""Curves: training, streams and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from mambacl.evaluation import AccuracyMatrix
from mambacl.evaluation.numbers import Numbers, as_float64
from mambacl.plots.axes import axes_or_new
from mambacl.plots.lines import LINES, draw_mean, draw_seeds, line_style
from mambacl.training import History


def learning_curves(
    runs: Mapping[str, Sequence[History]], ax: Axes | None = None, *, window: int = 50
) -> Axes:
    """Training accuracy, or the loss of vector targets, against steps: a line for the mean over seeds, a band
    from lowest to highest.

    Args:
        runs: Histories of the seeds of each run, by the run's name; drawn to the end of the shortest.
        ax: To draw on; None for a new figure.
        window: Steps that are averaged over.

    Returns:
        The axes.
    """
    ax = axes_or_new(ax)
    vectors = any(record.accuracy is None for seeds in runs.values() for one in seeds for record in one.steps)
    for (name, histories), line in zip(runs.items(), LINES * len(runs), strict=False):
        curves = [one.objective(window) if vectors else one.accuracy(window) for one in histories]
        shortest = min(map(len, curves))
        curves = [curve[:shortest] for curve in curves]
        steps = [step for step, _ in curves[0]]
        values = [[value for _, value in curve] for curve in curves]
        draw_mean(ax, steps, values, linestyle=line, label=name)
    measured, top = ("loss", None) if vectors else ("accuracy", 1)
    ax.set(xlabel="training steps", ylabel=f"training {measured} (mean of {window} steps)", ylim=(0, top))
    ax.legend()
    return ax


def validation_curves(
    runs: Mapping[str, Sequence[Mapping[int, tuple[float, float]]]], ax: Axes | None = None, *, xlabel: str
) -> Axes:
    """Scores on meta-validation: a line for the mean over seeds, a band from lowest to highest.

    Args:
        runs: The place on the axis and the score at each step, for each seed of each run, by the run's name;
            drawn at the steps that all seeds have, at their mean place. A run without any is left out.
        ax: To draw on; None for a new figure.
        xlabel: What the places are.

    Returns:
        The axes, without a legend.
    """
    ax = axes_or_new(ax)
    for number, (name, seeds) in enumerate(runs.items()):
        steps = [step for step in seeds[0] if all(step in one for one in seeds)] if seeds else []
        if steps:
            at = [fmean(one[step][0] for one in seeds) for step in steps]
            draw_seeds(ax, at, [[one[step][1] for step in steps] for one in seeds], label=name, style=number)
    ax.set(xlabel=xlabel)
    return ax


def anytime_accuracy(matrices: Mapping[str, AccuracyMatrix | Numbers], ax: Axes | None = None) -> Axes:
    """The mean accuracy over the tasks read so far, after each task.

    Args:
        matrices: Of the learners, by name; or R as a tensor, an array or lists.
        ax: To draw on; None for a new figure.

    Returns:
        The axes.
    """
    ax = axes_or_new(ax)
    for (name, matrix), line in zip(matrices.items(), LINES * len(matrices), strict=False):
        if not isinstance(matrix, AccuracyMatrix):
            matrix = AccuracyMatrix(as_float64("anytime_accuracy", "matrices", matrix), episodes=1)
        ax.plot(range(1, matrix.tasks + 1), matrix.anytime_accuracy.numpy(), line, marker=".", label=name)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="tasks read", ylabel="mean accuracy over these tasks", ylim=(0, 1.02))
    ax.legend()
    return ax


def times(seconds: Mapping[str, Mapping[int, float]], ax: Axes | None = None) -> Axes:
    """Time against length, both on logarithmic axes.

    Args:
        seconds: By length, for each thing that was timed.
        ax: To draw on; None for a new figure.

    Returns:
        The axes.
    """
    ax = axes_or_new(ax)
    for number, (name, by_length) in enumerate(seconds.items()):
        milliseconds = [1e3 * value for value in by_length.values()]
        ax.loglog(list(by_length), milliseconds, label=name, **line_style(number))
    ax.set(xlabel="length of the sequence, tokens", ylabel="forward and backward, ms")
    ax.legend()
    return ax
