"""Calibration: whether a learner that is sure of 80 % is right in 80 % of the cases."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mambacl.errors import DtypeError, InvalidValueError, ShapeError
from mambacl.evaluation.numbers import as_float64


@dataclass(frozen=True, eq=False)
class Calibration:
    """Answers by the confidence they were given with, in bins of equal width over [0, 1].

    Bin m of M (from 1) holds confidences in ((m - 1) / M, m / M], the first one 0 as well. The sum of two
    is the calibration of both sets of answers.

    Attributes:
        count: Answers in each bin, (bins) int64.
        right: How many of them were right, (bins) int64.
        confidence_sum: The sum of their confidences, (bins) float64.

    Raises:
        ShapeError: If the three are not vectors of one length.

    Examples:
        >>> sure = Calibration.of(torch.tensor([0.9, 0.9]), torch.tensor([True, False]))
        >>> unsure = Calibration.of(torch.tensor([0.5, 0.5]), torch.tensor([True, False]))
        >>> (sure + unsure).total, round((sure + unsure).expected_calibration_error, 6)
        (4, 0.2)
    """

    count: Tensor
    right: Tensor
    confidence_sum: Tensor

    def __post_init__(self) -> None:
        for name in ("count", "right"):
            whole = as_float64("Calibration", name, getattr(self, name)).to(torch.int64)
            object.__setattr__(self, name, whole)
        sums = as_float64("Calibration", "confidence_sum", self.confidence_sum)
        object.__setattr__(self, "confidence_sum", sums)
        shapes = [tuple(t.shape) for t in (self.count, self.right, self.confidence_sum)]
        if len(shapes[0]) != 1 or len(set(shapes)) != 1:
            raise ShapeError(f"Calibration: all fields must have shape (bins), got {shapes}")

    @classmethod
    def of(cls, confidences: Tensor, right: Tensor, bins: int = 15) -> Calibration:
        """The calibration of answers.

        Args:
            confidences: The probability that each answer was given with, any shape, floating point.
            right: Whether it was right, as `confidences`, bool.
            bins: How many.

        Returns:
            Counts and sums by bin.

        Raises:
            ShapeError: If the shapes differ.
            DtypeError: If `right` is not bool, or `confidences` not floating point.
            InvalidValueError: If a confidence is NaN or not from 0 to 1, or `bins` below 1.
        """
        if bins < 1:
            raise InvalidValueError(f"Calibration: argument `bins` must be at least 1, got {bins}")
        confidences, right = torch.as_tensor(confidences), torch.as_tensor(right)
        if confidences.shape != right.shape:
            raise ShapeError(
                f"Calibration: argument `right` must have shape {tuple(confidences.shape)}, "
                f"as `confidences`, got {tuple(right.shape)}"
            )
        if not confidences.is_floating_point():
            raise DtypeError(
                f"Calibration: argument `confidences` must be floating point, got {confidences.dtype}"
            )
        if right.dtype != torch.bool:
            raise DtypeError(f"Calibration: argument `right` must be bool, got {right.dtype}")
        confidences, right = confidences.flatten().double().cpu(), right.flatten().cpu()
        inside = (confidences >= 0) & (confidences <= 1)
        if not inside.all():
            raise InvalidValueError(
                "Calibration: argument `confidences` must hold numbers from 0 to 1, "
                f"got {confidences[~inside][0].item()}"
            )
        edges = torch.arange(1, bins, dtype=torch.float64) / bins
        place = torch.bucketize(confidences, edges)  # a confidence on an edge belongs to the bin below
        sums = torch.zeros(bins, dtype=torch.float64).index_add(0, place, confidences)
        return cls(place.bincount(minlength=bins), place[right].bincount(minlength=bins), sums)

    def __add__(self, other: Calibration) -> Calibration:
        if len(self.count) != len(other.count):
            raise ShapeError(
                f"Calibration: both terms must have as many bins, got {len(self.count)} and "
                f"{len(other.count)}"
            )
        return Calibration(
            self.count + other.count,
            self.right + other.right,
            self.confidence_sum + other.confidence_sum,
        )

    @property
    def total(self) -> int:
        """The number of answers."""
        return int(self.count.sum())

    @property
    def confidence(self) -> Tensor:
        """The mean confidence of each bin, (bins) float64; NaN in an empty one."""
        return self.confidence_sum / self.count

    @property
    def accuracy(self) -> Tensor:
        """The share of right answers of each bin, (bins) float64; NaN in an empty one."""
        return self.right.double() / self.count

    @property
    def expected_calibration_error(self) -> float:
        """ECE (Guo et al. 2017, arXiv:1706.04599): the mean over answers of the distance
        between their bin's accuracy and its mean confidence; 0 is best. NaN without any answer."""
        return ((self.right - self.confidence_sum).abs().sum() / self.count.sum()).item()
