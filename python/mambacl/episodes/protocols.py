"""Protocols for sources of episodes, and the check of the indices they are asked for."""

from __future__ import annotations

from typing import Protocol

from mambacl.episodes.episode import Episode
from mambacl.episodes.sizes import EpisodeSizes
from mambacl.errors import InvalidValueError


class Episodes(Protocol):
    """A source of batches of episodes by index; the same index always gives the same episode."""

    def batch(self, first_index: int, batch_size: int) -> Episode:
        """Episodes `first_index` to `first_index + batch_size - 1`."""
        ...


class SizedEpisodes(Episodes, Protocol):
    """Episodes that all have the same sizes."""

    @property
    def spec(self) -> EpisodeSizes:
        """The sizes."""
        ...


def check_indices(source: str, seed: int, first_index: int, batch_size: int) -> None:
    """Checks the seed and the indices of a batch.

    Args:
        source: Name of the source, for messages.
        seed: Seed of the episodes.
        first_index: Index of the first episode.
        batch_size: Number of episodes.

    Raises:
        InvalidValueError: If the batch is empty, or the seed or an index is not from 0 to 2^64 - 1.
    """
    if batch_size < 1:
        raise InvalidValueError(f"{source}: `batch_size` must be at least 1, got {batch_size}")
    numbers = {
        "seed": seed,
        "first_index": first_index,
        "first_index + batch_size - 1": first_index + batch_size - 1,
    }
    for name, value in numbers.items():
        if not 0 <= value < 2**64:
            raise InvalidValueError(f"{source}: `{name}` must be from 0 to 2^64 - 1, got {value}")
