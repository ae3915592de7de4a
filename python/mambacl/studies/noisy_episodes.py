"""Episodes with Gaussian noise on their inputs."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mambacl import _core
from mambacl.episodes import Episode, Episodes
from mambacl.errors import InvalidValueError


@dataclass(frozen=True, eq=False)
class NoisyEpisodes:
    """The episodes of a source with Gaussian noise added to all inputs, those of the stream and the queries.

    The noise of an episode is a pure function of its index: with another `std` it is the same, scaled, and
    longer streams leave that of the queries as it is. Nothing is clipped.

    Attributes:
        source: Of the episodes.
        std: Of the noise, in the units of the inputs; at least 0.

    Raises:
        InvalidValueError: If `std` is negative or no number.
    """

    source: Episodes
    std: float

    def __post_init__(self) -> None:
        if not 0 <= self.std < math.inf:
            raise InvalidValueError(f"NoisyEpisodes: `std` must be a number from 0, got {self.std}")

    def batch(self, first_index: int, batch_size: int) -> Episode:
        """Episodes `first_index` to `first_index + batch_size - 1`; raises as that of `source`."""
        episode = self.source.batch(first_index, batch_size)
        return dataclasses.replace(
            episode,
            train_x=self._noisy(episode.train_x, "train", first_index),
            test_x=self._noisy(episode.test_x, "test", first_index),
        )

    def _noisy(self, x: Tensor, part: str, first_index: int) -> Tensor:
        return torch.stack(
            [
                inputs + self.std * _normal(part, first_index + place, inputs.numel()).view(inputs.shape)
                for place, inputs in enumerate(x)
            ]
        )


def _normal(part: str, index: int, count: int) -> Tensor:
    """Normal numbers, (count) float32, by the inverse of the distribution function: at most 5.4 in size."""
    middles = _core.uniforms(0, f"noise/{part}", index, count).double() + 2.0**-25
    return torch.special.ndtri(middles).float()
