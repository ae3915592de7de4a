"""Scores of single episodes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Scores:
    """A score of each of a number of episodes.

    Attributes:
        values: (episodes) float64; accuracies, or losses.
    """

    values: Tensor

    @property
    def mean(self) -> float:
        """The mean over episodes."""
        return self.values.mean().item()

    @property
    def interval(self) -> float:
        """Half the width of the 95 % interval of the mean over episodes, 1.96 standard errors. It says
        how well these episodes measure this one model, and nothing of other seeds (see `over_seeds`)."""
        return 1.96 * (self.values.std() / len(self.values) ** 0.5).item()

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.interval:.3f}"
