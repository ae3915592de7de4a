"""How far a learner's confidence can be believed."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mambacl.evaluation import Calibration
from mambacl.plots.axes import axes_or_new


def reliability(calibration: Calibration, ax: Axes | None = None) -> Axes:
    """A reliability diagram: accuracy by confidence, with a bar below for the share of answers. Bins above
    the diagonal are too modest, below it too sure; empty ones are left out.

    Args:
        calibration: Of the answers.
        ax: To draw on; None for a new figure.

    Returns:
        The axes.
    """
    ax = axes_or_new(ax)
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
