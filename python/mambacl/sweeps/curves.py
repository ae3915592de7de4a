"""The curves of a sweep: meta-validation against steps and against minutes."""

from __future__ import annotations

from matplotlib import pyplot as plt

from mambacl import plots
from mambacl.plots.saving import png
from mambacl.sweeps.sheet import Sheet
from mambacl.sweeps.standings import curves

CURVES = "curves.png"
"""The file beside the table."""

_INCHES = (11, 4)
_DPI = 120


def has_curves(sheet: Sheet) -> bool:
    """Whether there is a run to draw."""
    return any(seed for one in sheet.each for seed in curves(one, sheet.pace))


def draw(sheet: Sheet) -> bytes:
    """Draws the runs that stand in the table: for each learner the mean over seeds and their range, without
    those that diverged; minutes are those of the table.

    Args:
        sheet: With at least one run.

    Returns:
        A PNG file.
    """
    figure, axes = plt.subplots(1, 2, figsize=_INCHES, sharey=True, layout="constrained")
    seeds = {one.row.name: curves(one, sheet.pace) for one in sheet.each}
    for ax, place, label in zip(axes, (0, 1), ("training steps", "minutes of training"), strict=True):
        against = {
            name: [{step: ((step, minutes)[place], score) for step, minutes, score in run} for run in runs]
            for name, runs in seeds.items()
        }
        plots.validation_curves(against, ax, xlabel=label)
    top = 1.02 if sheet.metric.higher_is_better else None
    axes[0].set(ylabel=f"{sheet.metric.name} on meta-validation", ylim=(0, top))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize="small")
    return png(figure, dpi=_DPI)
