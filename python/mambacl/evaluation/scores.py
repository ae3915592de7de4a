"""Scores of single episodes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mambacl.errors import ShapeError
from mambacl.evaluation.numbers import as_float64

STANDARD_ERRORS = 1.96
"""Of a mean, in half its 95 % interval: the normal distribution's, which means of many episodes have."""

_DIGITS = 5


@dataclass(frozen=True, eq=False)
class Scores:
    """A score of each of a number of episodes.

    Attributes:
        values: (episodes); accuracies, or losses. They may be given as a tensor, an array or a list, and are
            kept as a tensor of float64 on the CPU.

    Raises:
        DtypeError: If they are no numbers.
        ShapeError: If they are no vector.
    """

    values: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", as_float64("Scores", "values", self.values))
        if self.values.ndim != 1:
            raise ShapeError(f"Scores: `values` must have shape (episodes), got {tuple(self.values.shape)}")

    @property
    def mean(self) -> float:
        """The mean over episodes."""
        return self.values.mean().item()

    @property
    def standard_error(self) -> float:
        """Of the mean over episodes."""
        return (self.values.std() / len(self.values) ** 0.5).item()

    @property
    def interval(self) -> float:
        """Half the width of the 95 % interval of the mean over episodes, 1.96 standard errors. It says
        how well these episodes measure this one model, and nothing of other seeds (see `over_seeds`)."""
        return STANDARD_ERRORS * self.standard_error

    def rounded(self) -> tuple[float, float]:
        """The mean and half its interval, with the 5 digits that files keep."""
        return round(self.mean, _DIGITS), round(self.interval, _DIGITS)

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.interval:.3f}"
