"""Lines told apart by style and marker, in colour or without, and bands around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

LINES = ("-", "--", ":", "-.")
"""Line styles, so that curves stay apart without colour."""

MARKERS = "os^vDPX*<>"


def line_style(number: int) -> dict[str, Any]:
    """What matplotlib is told of the line of a number.

    Examples:
        >>> line_style(0)
        {'linestyle': '-', 'marker': 'o', 'color': 'C0'}
    """
    return {
        "linestyle": LINES[number % len(LINES)],
        "marker": MARKERS[number % len(MARKERS)],
        "color": f"C{number}",  # matplotlib begins anew after its last colour
    }


def draw_mean(ax: Axes, at: Sequence[float], seeds: Sequence[Sequence[float]], **style: Any) -> None:
    """Draws the mean over seeds as a line, and a band from the lowest to the highest.

    Args:
        ax: To draw on.
        at: Places of the numbers.
        seeds: The numbers of each seed.
        style: Of the line, as matplotlib is told.
    """
    values = np.array(seeds)  # (seeds, places)
    (drawn,) = ax.plot(at, values.mean(0), **style)
    if len(values) > 1:
        ax.fill_between(at, values.min(0), values.max(0), color=drawn.get_color(), alpha=0.2)


def draw_seeds(
    ax: Axes,
    at: Sequence[float],
    seeds: Sequence[Sequence[float]],
    *,
    label: str,
    style: int,
    markers: int = 8,
) -> None:
    """Draws a long curve as `draw_mean`, with a few markers.

    Args:
        ax: To draw on.
        at: Places of the numbers.
        seeds: The numbers of each seed.
        label: For the legend.
        style: Number of the style, which the places of markers depend on as well: where lines lie on one
            another, each shows.
        markers: How many there are, about.
    """
    every = max(1, len(at) // markers)
    places = (every * style // len(MARKERS) % every, every)
    draw_mean(ax, at, seeds, label=label, markersize=4, markevery=places, **line_style(style))
