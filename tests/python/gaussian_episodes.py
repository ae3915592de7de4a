"""Episodes of Gaussian classes, and a tiny learner that learns them in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from mambacl import ClassTarget, Episode, Learner, MambaMixer, SequenceConfig, VectorEncoder


def gaussian_learner(seed: int = 0, **changes: Any) -> Learner:
    settings: dict[str, Any] = {
        "encoder": VectorEncoder(4),
        "target": ClassTarget(6),
        "mixer": MambaMixer(d_state=8),
        "d_model": 32,
        **changes,
    }
    return Learner(SequenceConfig(**settings), seed=seed)


@dataclass(frozen=True)
class GaussianEpisodes:
    """Classes are points, examples scatter around them; a pure function of (seed, index).

    Attributes:
        seed: Separates sources: no two share an episode.
        tasks: Classes of an episode.
        dim: Numbers in an input.
        vocab: Symbols.
    """

    seed: int
    tasks: int = 3
    dim: int = 4
    vocab: int = 6
    train_shots: int = 2
    test_shots: int = 2

    def batch(self, first_index: int, batch_size: int) -> Episode:
        """Episodes `first_index` to `first_index + batch_size - 1`."""
        parts = [self._episode(index) for index in range(first_index, first_index + batch_size)]
        train_x, test_x, codebook = (torch.stack(part) for part in zip(*parts, strict=True))
        labels = torch.arange(self.tasks)
        train_y = labels.repeat_interleave(self.train_shots).repeat(batch_size, 1)
        test_y = labels.repeat_interleave(self.test_shots).repeat(batch_size, 1)
        return Episode(train_x, train_y, test_x, test_y, codebook)

    def _episode(self, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + index)
        means = torch.randn(self.tasks, 1, self.dim, generator=generator)
        shots = self.train_shots + self.test_shots
        x = means + 0.1 * torch.randn(self.tasks, shots, self.dim, generator=generator)
        train, test = x.split([self.train_shots, self.test_shots], dim=1)
        codebook = torch.randperm(self.vocab, generator=generator)
        return train.flatten(0, 1), test.flatten(0, 1), codebook
