"""Long curves with a band over seeds, told apart by style and marker, in colour or without."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from mambacl.plots import LINES

MARKERS = "os^vDPX*<>"


def draw_seeds(
    ax: Axes,
    at: Sequence[float],
    seeds: Sequence[Sequence[float]],
    *,
    label: str,
    style: int,
    markers: int = 8,
) -> Axes:
    """Draws a long curve: the mean over seeds, and a band from the lowest to the highest.

    Args:
        ax: To draw on.
        at: Places of the numbers.
        seeds: The numbers of each seed.
        label: For the legend.
        style: Number of the style, which the places of markers depend on as well: where lines lie on one
            another, each shows.
        markers: How many there are, about.
    """
    values = np.array(seeds)  # (seeds, places)
    every = max(1, len(at) // markers)
    form = f"{MARKERS[style % len(MARKERS)]}{LINES[style % len(LINES)]}"
    places = (every * style // len(MARKERS) % every, every)
    (drawn,) = ax.plot(
        at, values.mean(0), form, color=f"C{style % 10}", label=label, markersize=4, markevery=places
    )
    if len(values) > 1:
        ax.fill_between(at, values.min(0), values.max(0), color=drawn.get_color(), alpha=0.2)
    return ax
