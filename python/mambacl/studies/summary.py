"""One number for the models of a learner: of each seed, what it scores on episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SPREAD = (
    "± is the 95 % interval over episodes, for one model; of several seeds the mean, from the lowest to the "
    "highest."
)
"""What the text of a `Summary` says, for captions."""


@dataclass(frozen=True)
class Summary:
    """What the models of one learner score.

    Attributes:
        mean: Over models.
        low: The lowest model's; of one model the lower end of the 95 % interval over episodes.
        high: The same above.
        models: How many.
    """

    mean: float
    low: float
    high: float
    models: int

    @classmethod
    def of(cls, scores: Sequence[tuple[float, float]]) -> Summary:
        """From each model's mean over episodes, and half its 95 % interval."""
        if len(scores) == 1:
            ((mean, interval),) = scores
            return cls(mean, mean - interval, mean + interval, 1)
        means = [mean for mean, _ in scores]
        return cls(float(np.mean(means)), min(means), max(means), len(means))

    def __str__(self) -> str:
        if self.models == 1:
            return f"{self.mean:.3f} ± {self.high - self.mean:.3f}"
        return f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f})"
