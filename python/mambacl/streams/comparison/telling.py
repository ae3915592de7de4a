"""The tables and the figure of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt

from mambacl.plots.lines import draw_seeds
from mambacl.plots.saving import png
from mambacl.report.markdown import table
from mambacl.streams.comparison.lives import Life

Lives = dict[tuple[str, str, str], list[Life]]
"""Lives of each seed by data set, order and learner."""


def tables(lives: Mapping[tuple[str, str, str], Sequence[Life]]) -> str:
    """The table of accuracies, time and memory, in Markdown."""
    rows = [
        [
            data,
            order,
            name,
            f"{np.mean([life.final for life in each]):.3f}",
            f"{min(life.final for life in each):.3f} to {max(life.final for life in each):.3f}",
            f"{np.mean([np.mean([score for _, score in life.accuracy]) for life in each]):.3f}",
            f"{np.median([life.learn_us for life in each]):,.0f}",
            f"{np.mean([life.nbytes for life in each]):,.0f}",
        ]
        for (data, order, name), each in lives.items()
    ]
    headings = (
        "data",
        "order",
        "learner",
        "final accuracy",
        "lowest to highest seed",
        "mean along the stream",
        "µs an example",
        "bytes",
    )
    return table(headings, rows)


def figure_bytes(lives: Mapping[tuple[str, str, str], Sequence[Life]]) -> bytes:
    """Accuracy by examples read, a row for each order and a column for each data set, as PNG."""
    sets = list(dict.fromkeys(data for data, _, _ in lives))
    orders = list(dict.fromkeys(order for _, order, _ in lives))
    learners = list(dict.fromkeys(name for _, _, name in lives))
    figure, axes = plt.subplots(
        len(orders), len(sets), figsize=(4 * len(sets), 3 * len(orders)), squeeze=False, layout="constrained"
    )
    for (data, order, name), each in lives.items():
        ax = axes[orders.index(order), sets.index(data)]
        at = [read for read, _ in each[0].accuracy]
        curves = [[score for _, score in life.accuracy] for life in each]
        draw_seeds(ax, at, curves, label=name, style=learners.index(name))
        ax.set(title=f"{data}, {order}", xscale="log", ylim=(0, 1.02))
        ax.set(xlabel="examples read", ylabel="accuracy on unseen examples")
        ax.grid(alpha=0.3)
    axes[0, 0].legend(fontsize=7)
    return png(figure, dpi=110)
