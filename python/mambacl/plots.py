"""Figures. Each function draws on axes that it is given or makes, and returns them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from mambacl import durable
from mambacl.errors import InvalidValueError
from mambacl.evaluation import AccuracyMatrix, Calibration, ErrorMatrix, Scores
from mambacl.training import History

LINES = ("-", "--", ":", "-.")
"""Line styles, so that curves stay apart without colour."""


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
    ax = _axes(ax)
    vectors = any(record.accuracy is None for seeds in runs.values() for one in seeds for record in one.steps)
    for (name, histories), line in zip(runs.items(), LINES * len(runs), strict=False):
        curves = [one.objective(window) if vectors else one.accuracy(window) for one in histories]
        shortest = min(map(len, curves))
        curves = [curve[:shortest] for curve in curves]
        steps = [step for step, _ in curves[0]]
        values = np.array([[value for _, value in curve] for curve in curves])  # (seeds, steps)
        (drawn,) = ax.plot(steps, values.mean(0), line, label=name)
        if len(curves) > 1:
            ax.fill_between(steps, values.min(0), values.max(0), color=drawn.get_color(), alpha=0.2)
    measured, top = ("loss", None) if vectors else ("accuracy", 1)
    ax.set(xlabel="training steps", ylabel=f"training {measured} (mean of {window} steps)", ylim=(0, top))
    ax.legend()
    return ax


def accuracy_bars(
    scores: Mapping[str, Scores], ax: Axes | None = None, *, chance: float | None = None
) -> Axes:
    """Accuracy of several predictors on the same episodes, with 95 % intervals over episodes.

    Args:
        scores: By name, in the order drawn.
        ax: To draw on; None for a new figure.
        chance: Accuracy of guessing, drawn as a line; None for no line.

    Returns:
        The axes.
    """
    ax = _bars(scores, ax)
    for row, each in enumerate(scores.values()):
        ax.text(0.02, row, f"{each.mean:.3f}", va="center")
    if chance is not None:
        ax.axvline(chance, color="black", linestyle=":", label="chance")
        ax.legend(loc="lower right")
    ax.set(xlabel="accuracy on unseen classes", xlim=(0, 1))
    return ax


def error_bars(scores: Mapping[str, Scores], ax: Axes | None = None, *, label: str = "squared error") -> Axes:
    """Mean errors of several predictors on the same episodes, with 95 % intervals over episodes.

    Args:
        scores: By name, in the order drawn.
        ax: To draw on; None for a new figure.
        label: What the error is.

    Returns:
        The axes.
    """
    ax = _bars(scores, ax)
    highest = max(each.mean + each.interval for each in scores.values())
    for row, each in enumerate(scores.values()):  # behind the bar, which may be too short for a number
        ax.text(each.mean + each.interval + 0.02 * highest, row, f"{each.mean:.3f}", va="center")
    ax.set(xlabel=f"mean {label}", xlim=(0, 1.2 * highest))
    return ax


def accuracy_matrix(matrix: AccuracyMatrix, ax: Axes | None = None) -> Axes:
    """The accuracy on each task after each task: a grey image, black for 0 and white for 1, hatched where
    a task has not been read yet; with numbers where there is room for them.

    Args:
        matrix: Of the accuracies.
        ax: To draw on; None for a new figure.

    Returns:
        The axes.
    """
    return _matrix(matrix.values, ax, best=1, worst=0, label="accuracy")


def error_matrix(matrix: ErrorMatrix, ax: Axes | None = None, *, label: str = "squared error") -> Axes:
    """The error on each task after each task: as `accuracy_matrix`, white for 0 and black for the largest.

    Args:
        matrix: Of the errors.
        ax: To draw on; None for a new figure.
        label: What the error is.

    Returns:
        The axes.
    """
    worst = float(matrix.values.nan_to_num().max()) or 1.0
    return _matrix(matrix.values, ax, best=0, worst=worst, label=label)


def anytime_accuracy(matrices: Mapping[str, AccuracyMatrix], ax: Axes | None = None) -> Axes:
    """The mean accuracy over the tasks read so far, after each task.

    Args:
        matrices: Of the learners, by name.
        ax: To draw on; None for a new figure.

    Returns:
        The axes.
    """
    ax = _axes(ax)
    for (name, matrix), line in zip(matrices.items(), LINES * len(matrices), strict=False):
        ax.plot(range(1, matrix.tasks + 1), matrix.anytime_accuracy.numpy(), line, marker=".", label=name)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="tasks read", ylabel="mean accuracy over these tasks", ylim=(0, 1.02))
    ax.legend()
    return ax


def reliability(calibration: Calibration, ax: Axes | None = None) -> Axes:
    """A reliability diagram: accuracy by confidence, with a bar below for the share of answers. Bins above
    the diagonal are too modest, below it too sure; empty ones are left out.

    Args:
        calibration: Of the answers.
        ax: To draw on; None for a new figure.

    Returns:
        The axes.
    """
    ax = _axes(ax)
    bins = len(calibration.count)
    shares = (calibration.count / calibration.total).numpy()
    ax.bar(
        (np.arange(bins) + 0.5) / bins,
        shares,
        width=1 / bins,
        color="0.85",
        edgecolor="0.6",
        label="share of answers",
    )
    ax.plot([0, 1], [0, 1], ":", color="black", label="calibrated")
    filled = calibration.count > 0
    confidence, accuracy = calibration.confidence[filled], calibration.accuracy[filled]
    error = calibration.expected_calibration_error
    ax.plot(confidence.numpy(), accuracy.numpy(), "o-", color="black", label=f"answers (ECE {error:.3f})")
    ax.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02))
    ax.legend(loc="upper left")
    return ax


def episode_images(
    train_x: Tensor, test_x: Tensor, test_y: Tensor, answers: Tensor, ax: Axes | None = None, *, tasks: int
) -> Axes:
    """One episode as pictures: a row for each task, its stream on the left, its queries on the right,
    with the label answered under each query ("x" before a wrong one).

    Args:
        train_x: (T, channels, height, width), task after task.
        test_x: (Q, channels, height, width), task after task.
        test_y: (Q) int64.
        answers: (Q) int64.
        ax: To draw on; None for a new figure.
        tasks: Rows.

    Returns:
        The axes.
    """
    ax = _axes(ax)
    shots, queries = len(train_x) // tasks, len(test_x) // tasks
    side = train_x.shape[-1]
    gap = side // 2
    canvas = np.full((tasks * (side + gap), (shots + queries) * side + 2 * gap), np.nan)
    for row in range(tasks):
        top = row * (side + gap)
        for column in range(shots + queries):
            images, index = (
                (train_x, row * shots + column)
                if column < shots
                else (test_x, row * queries + column - shots)
            )
            left = column * side + (2 * gap if column >= shots else 0)
            canvas[top : top + side, left : left + side] = images[index].float().mean(0).numpy()
        for query in range(queries):
            index = row * queries + query
            answer, label = int(answers[index]), int(test_y[index])
            text = str(answer) if answer == label else f"x {answer}"
            centre = (shots + query + 0.5) * side + 2 * gap
            ax.text(centre, top + side + gap / 2, text, ha="center", va="center", fontsize=7)
        ax.text(-gap, top + side / 2, str(row), ha="center", va="center")
    ax.imshow(-canvas, cmap="gray", interpolation="nearest")
    ax.set_axis_off()
    ax.set_title("stream, one task a row" + " " * 30 + "queries and answers", fontsize=9)
    return ax


def association_map(association: Tensor, ax: Axes | None = None, *, boundaries: Sequence[float] = ()) -> Axes:
    """What queries are associated with.

    Args:
        association: (Q, tokens), rows that sum to 1.
        ax: To draw on; None for a new figure.
        boundaries: Tokens at which tasks begin, drawn as lines.

    Returns:
        The axes.
    """
    ax = _axes(ax)
    image = ax.imshow(association.numpy(), cmap="gray_r", aspect="auto", interpolation="nearest", vmin=0)
    for boundary in boundaries:
        ax.axvline(boundary - 0.5, color="black", linewidth=0.5)
    ax.set(xlabel="tokens of the stream: x, y, x, y, …", ylabel="queries, task after task")
    ax.figure.colorbar(image, ax=ax, label="association")
    return ax


def times(seconds: Mapping[str, Mapping[int, float]], ax: Axes | None = None) -> Axes:
    """Time against length, both on logarithmic axes.

    Args:
        seconds: By length, for each thing that was timed.
        ax: To draw on; None for a new figure.

    Returns:
        The axes.
    """
    ax = _axes(ax)
    markers = "osd^v"
    for (name, by_length), line, marker in zip(seconds.items(), LINES * len(seconds), markers, strict=False):
        milliseconds = [1e3 * value for value in by_length.values()]
        ax.loglog(list(by_length), milliseconds, line, marker=marker, label=name)
    ax.set(xlabel="length of the sequence, tokens", ylabel="forward and backward, ms")
    ax.legend()
    return ax


def check_file(path: Path) -> None:
    """Checks that a figure can be written in the format of a file's name, before the work that it shows.

    Args:
        path: Of the file; without a suffix it will be a png.

    Raises:
        InvalidValueError: If the format is unknown.
    """
    formats = sorted(FigureCanvasBase.get_supported_filetypes())
    suffix = path.suffix.removeprefix(".").lower()
    if suffix and suffix not in formats:
        raise InvalidValueError(f"plot: `--plot` must end in one of {', '.join(formats)}, got {path.name}")


def save(ax: Axes, path: Path) -> None:
    """Writes the whole figure of `ax` to a file, and closes it.

    Args:
        ax: Of the figure.
        path: Of a png, pdf or svg.
    """
    figure = ax.figure.figure  # of a subfigure the whole
    with durable.named(path):
        figure.savefig(path, dpi=150)
    plt.close(figure)


def _bars(scores: Mapping[str, Scores], ax: Axes | None) -> Axes:
    """Means with their intervals, from the top."""
    ax = _axes(ax)
    names = list(scores)
    means = [scores[name].mean for name in names]
    errors = [scores[name].interval for name in names]
    ax.barh(names, means, xerr=errors, color="0.7", edgecolor="black", capsize=3)
    ax.invert_yaxis()
    return ax


def _matrix(values: Tensor, ax: Axes | None, *, best: float, worst: float, label: str) -> Axes:
    """R as a grey image, white for the best; with numbers where there is room for them."""
    ax = _axes(ax)
    shown = np.ma.masked_invalid(values.numpy())
    ax.patch.set(hatch="///", edgecolor="0.7")  # tasks not read yet are masked: white would be the best
    low, high = sorted((best, worst))
    cmap = "gray" if best > worst else "gray_r"
    image = ax.imshow(shown, cmap=cmap, interpolation="nearest", vmin=low, vmax=high)
    if len(shown) <= 10:
        for (row, column), value in np.ndenumerate(shown):
            if column <= row:
                ink = "black" if abs(value - best) < (high - low) / 2 else "white"
                ax.text(column, row, f"{value:.2f}", ha="center", va="center", color=ink, fontsize=7)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="task asked of", ylabel="last task read")
    ax.figure.colorbar(image, ax=ax, label=label)
    return ax


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    return plt.subplots(layout="constrained")[1]
