"""Bars: in groups, or as a ranking; told apart by hatching and grey, in colour or without."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from mambacl.studies.summary import Summary

_HATCHES = ("", "///", "...", "\\\\\\", "xxx", "---", "ooo", "|||", "+++", "**")
_GREYS = ("0.5", "0.97", "0.75")
_WIDTH = 0.85
"""Of a group, where the next begins at 1."""


def draw_bars(
    ax: Axes,
    bars: Mapping[str, Sequence[Summary]],
    groups: Sequence[str],
    *,
    styles: Mapping[str, int] | None = None,
) -> Axes:
    """Draws a group of bars for each condition, with bands as error bars.

    Args:
        ax: To draw on.
        bars: For each learner, by its label, a bar in each group.
        groups: Names of the conditions.
        styles: Number of the style of a learner by its label, so that two axes agree; by default in order.
    """
    each = _WIDTH / max(1, len(bars))
    for number, (label, summaries) in enumerate(bars.items()):
        style = number if styles is None else styles[label]
        means = [one.mean for one in summaries]
        ends = [[one.mean - one.low for one in summaries], [one.high - one.mean for one in summaries]]
        ax.bar(
            np.arange(len(groups)) + (number + 0.5) * each - _WIDTH / 2,
            means,
            each,
            yerr=ends,
            label=label,
            facecolor=_GREYS[style % len(_GREYS)],
            edgecolor="black",
            linewidth=0.6,
            hatch=_HATCHES[style % len(_HATCHES)],
            error_kw={"elinewidth": 0.8},
        )
    ax.set_xticks(range(len(groups)), groups)
    ax.set_xlim(-0.5, len(groups) - 0.5)
    ax.grid(axis="y", alpha=0.3)
    ax.set_axisbelow(True)
    return ax


def draw_ranking(ax: Axes, ranking: Mapping[str, Summary | None], hatched: Collection[str]) -> Axes:
    """Draws a bar for each learner, from the top, with bands as error bars and the mean as a number.

    Args:
        ax: To draw on.
        ranking: By the learner's name; None for one that was not asked.
        hatched: Names of those that were not meta-trained.
    """
    for row, (name, told) in enumerate(ranking.items()):
        if told is None:
            ax.text(0, row, " not asked", va="center", fontsize=7)
            continue
        hatch, colour = ("///", "white") if name in hatched else (None, "0.7")
        bar = ax.barh(
            row,
            told.mean,
            xerr=[[told.mean - told.low], [told.high - told.mean]],
            color=colour,
            hatch=hatch,
            edgecolor="black",
            capsize=2,
        )
        ax.bar_label(bar, [f"{told.mean:.3f}"], padding=4, fontsize=7)  # behind the error bar
    ax.set_yticks(range(len(ranking)), list(ranking))
    ax.yaxis.set_inverted(True)
    return ax
