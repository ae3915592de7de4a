"""An episode in pictures: its images, and what its queries are associated with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from mambacl.evaluation.numbers import as_float64
from mambacl.plots.axes import axes_or_new


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
    ax = axes_or_new(ax)
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
    ax = axes_or_new(ax)
    shown = as_float64("association_map", "association", association).numpy()
    image = ax.imshow(shown, cmap="gray_r", aspect="auto", interpolation="nearest", vmin=0)
    for boundary in boundaries:
        ax.axvline(boundary - 0.5, color="black", linewidth=0.5)
    ax.set(xlabel="tokens of the stream: x, y, x, y, …", ylabel="queries, task after task")
    ax.figure.colorbar(image, ax=ax, label="association")
    return ax
