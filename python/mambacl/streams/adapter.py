"""Adapts features of any number and scale to the inputs of a learner's encoder."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

LIMIT = 10.0
"""Standardised features are clamped to [-LIMIT, LIMIT], so that outliers stay in the range of training."""

SETTLED = 30
"""Number of first examples that the mean and variance are computed from (docs/streams.md has the reason)."""


@dataclass(frozen=True, eq=False)
class Adapter:
    """Running standardisation, then a random projection, for one stream; its size is fixed.

    Mean and variance are those of the stream's first `SETTLED` examples (Welford's recurrence, float64). If
    they changed for ever, early and late classes would be standardised differently. Queries never change
    them. The projection P is drawn once. Its rows or columns are orthonormal up to a factor, with which white
    features give outputs of mean variance 1. With at least as many outputs as features it preserves all
    distances up to that factor.

    Attributes:
        count: Number of examples so far; the first `SETTLED` of them give mean and variance.
        mean: Mean of each feature, (features,) float64.
        squares: Sum of squared deviations from the mean, (features,) float64.
        projection: P, (features, outputs) float32.

    Examples:
        >>> adapter = Adapter.drawn(features=3, outputs=8, seed=0)
        >>> outputs, adapter = adapter.reading(torch.randn(20, 3, dtype=torch.float64) * 100 + 7)
        >>> outputs.shape, adapter.count
        (torch.Size([20, 8]), 20)
    """

    count: int
    mean: Tensor
    squares: Tensor
    projection: Tensor

    @staticmethod
    def drawn(features: int, outputs: int, seed: int) -> Adapter:
        """An adapter before any example.

        Args:
            features: Number of features of an input.
            outputs: Number of inputs of the encoder.
            seed: Seed of the projection.

        Returns:
            The adapter, on the CPU.
        """
        generator = torch.Generator().manual_seed(seed)
        large, small = max(features, outputs), min(features, outputs)
        normal = torch.randn(large, small, generator=generator, dtype=torch.float64)
        basis = torch.linalg.qr(normal).Q  # (large, small), orthonormal columns
        projection = (basis if features == large else basis.T) * (outputs / small) ** 0.5
        zeros = torch.zeros(features, dtype=torch.float64)
        return Adapter(0, zeros, zeros, projection.float().contiguous())

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        return self.mean.nbytes + self.squares.nbytes + self.projection.nbytes

    def widened(self, past: Tensor, seed: int) -> Adapter:
        """The adapter with new features added, each of which was constant in all earlier examples.

        The projection gets one row for each new feature. A new row has the mean length of the present rows,
        and is orthogonal to them while there are fewer rows than outputs. Earlier examples keep their
        projection.

        Args:
            past: Value of each new feature in the earlier examples, (new,) float64.
            seed: Seed of the projection.

        Examples:
            >>> adapter = Adapter.drawn(features=3, outputs=8, seed=0)
            >>> wide = adapter.widened(torch.zeros(2, dtype=torch.float64), seed=0)
            >>> torch.equal(wide.projection[:3], adapter.projection), wide.projection.shape
            (True, torch.Size([5, 8]))
        """
        rows = self.projection.double()
        length = rows.norm(dim=1).mean()
        for place in range(len(rows), len(rows) + len(past)):
            generator = torch.Generator().manual_seed(
                (seed + place) % 2**63
            )  # a row does not depend on how features are split over calls
            row = torch.randn(rows.shape[1], generator=generator, dtype=torch.float64)
            if place < rows.shape[1]:
                row = row - torch.linalg.lstsq(rows.T, row.unsqueeze(1)).solution.squeeze(1) @ rows
            rows = torch.cat([rows, (row / row.norm() * length).unsqueeze(0)])
        new = rows[len(self.projection) :].float()
        return dataclasses.replace(
            self,
            mean=torch.cat([self.mean, past]),
            squares=torch.cat([self.squares, torch.zeros_like(past)]),
            projection=torch.cat([self.projection, new]).contiguous(),
        )

    def after(self, x: Tensor) -> Adapter:
        """The adapter after more examples, (n, features) float64, oldest first."""
        return self.reading(x)[1]

    def apply(self, x: Tensor) -> Tensor:
        """Adapts inputs with the present mean and variance.

        Args:
            x: Features, (n, features) float64.

        Returns:
            Inputs of the encoder, (n, outputs) float64.
        """
        return self._projected(x, self.mean, self.squares / max(min(self.count, SETTLED), 1))

    def reading(self, x: Tensor) -> tuple[Tensor, Adapter]:
        """Adapts examples in order, each with the mean and variance up to and including itself. The result
        does not depend on how examples are split over calls.

        Args:
            x: Features, (n, features) float64, n >= 1.

        Returns:
            Inputs of the encoder, (n, outputs) float64, and the adapter after the examples.
        """
        moving = max(SETTLED - self.count, 0)
        if moving == 0:
            return self.apply(x), dataclasses.replace(self, count=self.count + len(x))
        outputs, after = self._moved(x[:moving])
        if moving < len(x):
            settled, after = after.reading(x[moving:])
            outputs = torch.cat([outputs, settled])
        return outputs, after

    def _moved(self, x: Tensor) -> tuple[Tensor, Adapter]:
        """As `reading`, for examples that all change mean and variance."""
        counts = self.count + torch.arange(1, len(x) + 1, dtype=torch.float64).unsqueeze(1)  # (n, 1)
        origin = self.mean if self.count else x[0]  # near the data: sums of differences keep their digits
        means = origin + (x - origin).cumsum(0) / counts
        before = torch.cat([origin.unsqueeze(0), means[:-1]])
        squares = self.squares + ((x - before) * (x - means)).cumsum(0)
        after = dataclasses.replace(
            self, count=self.count + len(x), mean=means[-1].clone(), squares=squares[-1].clone()
        )
        return self._projected(x, means, squares / counts), after

    def _projected(self, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        # The variance of a constant feature may be above 0 by rounding; it is then treated as 0.
        rounding = (8 * torch.finfo(torch.float64).eps * mean.abs()).square()
        scale = torch.where(variance > rounding, variance, 1.0).sqrt()
        return ((x - mean) / scale).clamp(-LIMIT, LIMIT) @ self.projection.double()
