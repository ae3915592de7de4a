"""Episodes for a `DataLoader`."""

from __future__ import annotations

from torch.utils.data import Dataset

from mambacl.episodes.episode import Episode
from mambacl.episodes.source import EpisodeSource


class EpisodeDataset(Dataset[Episode]):
    """Consecutive batches of a source, for a `DataLoader`: item `i` is batch `first_batch + i`.

    The loader must not collate (`batch_size=None`). The batches do not depend on the number of workers. Start
    workers by "spawn", as forked processes can hang in torch's threads.

    Args:
        source: Source of the episodes.
        batch_size: Number of episodes per batch.
        batches: Number of items.
        first_batch: Index of the first batch; a run that resumes after `n` steps starts at `n`.

    Examples:
        >>> from mambacl.data import hanzi21
        >>> from mambacl.episodes import EpisodeSpec
        >>> from torch.utils.data import DataLoader
        >>> source = EpisodeSource(hanzi21.load("train"), EpisodeSpec(), seed=0, split="train")
        >>> loader = DataLoader(EpisodeDataset(source, batch_size=16, batches=3), batch_size=None)
        >>> [episode.batch_size for episode in loader]
        [16, 16, 16]
    """

    def __init__(self, source: EpisodeSource, batch_size: int, batches: int, first_batch: int = 0) -> None:
        self.source = source
        self.batch_size = batch_size
        self.batches = batches
        self.first_batch = first_batch

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, item: int) -> Episode:
        if not 0 <= item < self.batches:
            raise IndexError(f"EpisodeDataset: `item` must be from 0 to {self.batches - 1}, got {item}")
        return self.source.batch((self.first_batch + item) * self.batch_size, self.batch_size)
