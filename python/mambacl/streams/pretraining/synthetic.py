"""Synthetic classes: clusters of low-rank Gaussians, with random numbers and scales of features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FEATURES = (4, 256)
"""Smallest and largest number of features of an episode."""

_CLUSTERS = 4
_RANK = 48


@dataclass(frozen=True, eq=False)
class SyntheticClasses:
    """The classes of one episode.

    An example is `shape(z A + noise) * scale + offset`. z is Gaussian about the centre of a cluster of its
    class. A has low rank and a falling spectrum. Features have different scales and offsets, like
    measurements. Each of the four shapes is used in a quarter of the episodes: features unchanged, cut off
    below (like pixels), skewed (like areas and counts), or rounded to few values.

    Attributes:
        centres: Centres of clusters in the space of z, (tasks, clusters, rank).
        spreads: Square roots of covariances of z, (tasks, rank, rank).
        mixing: A, (rank, features).
        noise: Standard deviation of the noise on each feature, before `shape`.
        shape: Name of the shape: "plain", "cut", "skewed" or "coarse".
        scale: Scale of each feature, (features,).
        offset: Offset of each feature, (features,).
    """

    centres: Array
    spreads: Array
    mixing: Array
    noise: float
    shape: str
    scale: Array
    offset: Array

    @staticmethod
    def drawn(generator: np.random.Generator, tasks: int) -> SyntheticClasses:
        """Draws the classes of an episode."""
        g = generator
        features = int(np.exp(g.uniform(np.log(FEATURES[0]), np.log(FEATURES[1] + 1))))
        rank = int(np.exp(g.uniform(np.log(2), np.log(min(features, _RANK) + 1))))
        clusters = 1 if g.random() < 0.5 else int(g.integers(2, _CLUSTERS + 1))
        apart = 0.0 if clusters == 1 else g.uniform(0.3, 1.0)  # distance of clusters, relative to classes
        centres = g.normal(size=(tasks, 1, rank)) * np.sqrt(1 - 0.5 * apart)
        centres = centres + apart * g.normal(size=(tasks, clusters, rank))
        width = np.exp(g.uniform(np.log(0.15), np.log(1.2)))  # of a cluster, relative to classes
        shared = g.random() < 0.5
        spreads = np.stack([_spread(g, rank) for _ in range(1 if shared else tasks)])
        spreads = width * np.broadcast_to(spreads, (tasks, rank, rank))
        basis = np.linalg.qr(g.normal(size=(features, rank)))[0].T  # (rank, features), orthonormal rows
        falls = (1 + np.arange(rank)) ** -g.uniform(0, 1.0)
        mixing = basis * (falls / np.sqrt(np.mean(falls**2)))[:, None] * np.sqrt(features / rank)
        return SyntheticClasses(
            centres=centres,
            spreads=spreads,
            mixing=mixing,
            noise=float(np.exp(g.uniform(np.log(0.02), np.log(0.7)))),
            shape=str(g.choice(["plain", "cut", "skewed", "coarse"])),
            scale=np.exp(g.normal(0, g.uniform(0, 2), size=features)),
            offset=g.normal(0, 3, size=features),
        )

    def examples(self, generator: np.random.Generator, labels: NDArray[np.int64]) -> Array:
        """Draws one example for each label.

        Args:
            generator: Source of random numbers.
            labels: Labels, (n,) int64, below the number of classes.

        Returns:
            Features, (n, features) float64.
        """
        cluster = generator.integers(self.centres.shape[1], size=len(labels))
        z = generator.normal(size=(len(labels), self.centres.shape[2]))
        z = self.centres[labels, cluster] + np.einsum("nr,nrs->ns", z, self.spreads[labels])
        x = z @ self.mixing
        x = x + self.noise * generator.normal(size=x.shape)
        return _SHAPES[self.shape](x) * self.scale + self.offset


def _plain(x: Array) -> Array:
    return x


def _cut(x: Array) -> Array:
    return np.maximum(x, 0.0)


def _skewed(x: Array) -> Array:
    return np.exp(0.7 * np.clip(x, -8, 8))


_SHAPES: dict[str, Callable[[Array], Array]] = {
    "plain": _plain,
    "cut": _cut,
    "skewed": _skewed,
    "coarse": np.round,
}


def _spread(g: np.random.Generator, rank: int) -> Array:
    """The square root of a random covariance with mean variance 1 and different variances by direction."""
    deviations = np.exp(g.normal(0, g.uniform(0, 1), size=rank))
    turned = np.linalg.qr(g.normal(size=(rank, rank)))[0]
    return deviations[:, None] / np.sqrt(np.mean(deviations**2)) * turned
