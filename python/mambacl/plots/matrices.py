"""What is known of each task after each task, as a grey image."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from mambacl.evaluation import AccuracyMatrix, ErrorMatrix
from mambacl.evaluation.numbers import Numbers, as_float64
from mambacl.plots.axes import axes_or_new


def accuracy_matrix(matrix: AccuracyMatrix | Numbers, ax: Axes | None = None) -> Axes:
    """The accuracy on each task after each task: a grey image, black for 0 and white for 1, hatched where
    a task has not been read yet; with numbers where there is room for them.

    Args:
        matrix: Of the accuracies; or R as a tensor, an array or lists.
        ax: To draw on; None for a new figure.

    Returns:
        The axes.
    """
    if not isinstance(matrix, AccuracyMatrix):
        matrix = AccuracyMatrix(as_float64("accuracy_matrix", "matrix", matrix), episodes=1)
    return _matrix(matrix.values, ax, best=1, worst=0, label="accuracy")


def error_matrix(
    matrix: ErrorMatrix | Numbers, ax: Axes | None = None, *, label: str = "squared error"
) -> Axes:
    """The error on each task after each task: as `accuracy_matrix`, white for 0 and black for the largest.

    Args:
        matrix: Of the errors; or R as a tensor, an array or lists.
        ax: To draw on; None for a new figure.
        label: What the error is.

    Returns:
        The axes.
    """
    if not isinstance(matrix, ErrorMatrix):
        matrix = ErrorMatrix(as_float64("error_matrix", "matrix", matrix), episodes=1)
    worst = float(matrix.values.nan_to_num().max()) or 1.0
    return _matrix(matrix.values, ax, best=0, worst=worst, label=label)


def _matrix(values: Tensor, ax: Axes | None, *, best: float, worst: float, label: str) -> Axes:
    """R as a grey image, white for the best; with numbers where there is room for them."""
    ax = axes_or_new(ax)
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
