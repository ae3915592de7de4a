"""How long a state keeps what was written to it, before any training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from mambacl.plots.axes import axes_or_new
from mambacl.plots.lines import LINES

INITIAL_RATES: Mapping[str, Sequence[float]] = {
    "published, A = -(1 .. 16)": range(1, 17),
    "A = -1": [1.0],
    "A = -0.1": [0.1],
    "A = -0.01": [0.01],
}
"""Rates of decay, -A, by name."""


def kept(
    rates: Mapping[str, Sequence[float]] = INITIAL_RATES,
    ax: Axes | None = None,
    *,
    steps: tuple[float, float] = (1e-3, 1e-1),
    tokens: int = 100_000,
) -> Axes:
    """The share of what was written that states keep: exp(-a delta n) after n tokens.

    A line is the mean over rates and over step sizes, which are log-uniform; its band goes from the fastest
    state to the slowest.

    Args:
        rates: Of decay, a = -A, by the name of the line.
        ax: To draw on; None for a new figure.
        steps: The smallest step size delta and the largest.
        tokens: To the right end of the axis, which is logarithmic and begins at 1.

    Returns:
        The axes.
    """
    ax = axes_or_new(ax)
    after = np.geomspace(1, tokens, 200)
    delta = np.geomspace(*steps, 200)
    for (name, values), line in zip(rates.items(), LINES * len(rates), strict=False):
        share = np.exp(-np.multiply.outer(after, np.multiply.outer(np.asarray(values), delta)))
        share = share.reshape(len(after), -1)  # (tokens, rates x step sizes)
        (drawn,) = ax.semilogx(after, share.mean(1), linestyle=line, label=name)
        ax.fill_between(after, share.min(1), share.max(1), color=drawn.get_color(), alpha=0.1)
    ax.set(xlabel="tokens read since", ylabel="share kept before training", xlim=(1, tokens), ylim=(0, 1.02))
    ax.legend()
    return ax
