"""Bars: predictors on the same episodes."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes

from mambacl.evaluation import Scores
from mambacl.plots.axes import axes_or_new


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


def _bars(scores: Mapping[str, Scores], ax: Axes | None) -> Axes:
    """Means with their intervals, from the top."""
    ax = axes_or_new(ax)
    names = list(scores)
    means = [scores[name].mean for name in names]
    errors = [scores[name].interval for name in names]
    ax.barh(names, means, xerr=errors, color="0.7", edgecolor="black", capsize=3)
    ax.invert_yaxis()
    return ax
