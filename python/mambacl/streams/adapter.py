"""Features of any number and scale, made into the numbers that a learner's encoder takes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

LIMIT = 10.0
"""Standardised features are cut off here, so that an outlier among queries stays a number learners know."""

SETTLED = 30
"""Examples whose moments count; those of later ones do not (docs/streams.md has how it was chosen)."""


@dataclass(frozen=True, eq=False)
class Adapter:
    """Running standardisation, then a random projection, for one stream; fixed in size.

    Mean and variance are those of the stream's first `SETTLED` examples (Welford's recurrence, float64): were
    they to move for ever, a class would be read by other moments than the one after it. Queries never change
    them. The projection P has orthonormal rows or columns, times a number by which features that are
    white give outputs of variance 1 in the mean; with as many outputs as features or more it keeps all
    distances. It is drawn once.

    Attributes:
        count: Examples so far, of which the first `SETTLED` have made the moments.
        mean: Of each feature, (features,) float64.
        squares: Summed squares about the mean, (features,) float64.
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
            features: Numbers in an input.
            outputs: Numbers that the encoder takes.
            seed: Of the projection.

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
        """The bytes it holds."""
        return self.mean.nbytes + self.squares.nbytes + self.projection.nbytes

    def widened(self, past: Tensor, seed: int) -> Adapter:
        """The adapter with more features, each with one value in all examples before.

        Rows of the projection are added, as long as those that there are in the mean, and orthogonal to them
        while there are fewer than outputs: what was read before is projected as it was.

        Args:
            past: The value of each new feature in the examples before, (new,) float64.
            seed: Of the projection.

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
            )  # the same, one by one or at once
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
        """The adapter that has seen examples, (n, features) float64; the last is newest."""
        return self.reading(x)[1]

    def apply(self, x: Tensor) -> Tensor:
        """Inputs as the encoder takes them, by the moments so far.

        Args:
            x: (n, features) float64.

        Returns:
            (n, outputs) float64.
        """
        return self._projected(x, self.mean, self.squares / max(min(self.count, SETTLED), 1))

    def reading(self, x: Tensor) -> tuple[Tensor, Adapter]:
        """Examples in order, each by the moments that include it and none after it: the same at once, in
        pieces and one by one.

        Args:
            x: (n, features) float64, at least one.

        Returns:
            (n, outputs) float64, and the adapter after them.
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
        """As `reading`, of examples that all move the moments."""
        counts = self.count + torch.arange(1, len(x) + 1, dtype=torch.float64).unsqueeze(1)  # (n, 1)
        origin = self.mean if self.count else x[0]  # near the data: sums of differences lose no digits
        means = origin + (x - origin).cumsum(0) / counts
        before = torch.cat([origin.unsqueeze(0), means[:-1]])
        squares = self.squares + ((x - before) * (x - means)).cumsum(0)
        after = dataclasses.replace(
            self, count=self.count + len(x), mean=means[-1].clone(), squares=squares[-1].clone()
        )
        return self._projected(x, means, squares / counts), after

    def _projected(self, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        # What rounding leaves of a feature that never changed is no variance.
        rounding = (8 * torch.finfo(torch.float64).eps * mean.abs()).square()
        scale = torch.where(variance > rounding, variance, 1.0).sqrt()
        return ((x - mean) / scale).clamp(-LIMIT, LIMIT) @ self.projection.double()
