"""Episodes of the mixture, each a pure function of (seed, split, index)."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from mambacl.data.feature_classes import FeatureClasses
from mambacl.data.splits import Split
from mambacl.episodes import Episode, check_indices
from mambacl.stream_order import by_appearance, stream_labels
from mambacl.streams.pretraining.adapted import adapted
from mambacl.streams.pretraining.borrowed import BorrowedClasses
from mambacl.streams.pretraining.sizes import Lengths, Sizes
from mambacl.streams.pretraining.synthetic import SyntheticClasses

MixedOrder = Literal["contiguous", "shuffled", "recurring", "imbalanced", "imbalanced, shuffled"]
"""The orders of streams, used in turn; see `mambacl.stream_order`."""

_MOST = 5  # largest number of examples of a class, as a multiple of the average


@dataclass(frozen=True, eq=False)
class MixtureSource:
    """Draws batches of episodes over feature vectors that an estimator's adapter has adapted.

    Every second episode has synthetic classes; the others use the feature sets in turn. All episodes of a
    batch have the same sizes, drawn by the first index. So a batch depends on its first index, and a smaller
    batch is the beginning of a larger one.

    Attributes:
        features: Feature sets; if empty, all episodes are synthetic.
        dim: Number of inputs of the learner's encoder.
        vocab: Number of symbols of the codebook.
        seed: Seed, 0 to 2^64 - 1.
        split: Split; episodes of different splits are independent.
        lengths: Lengths of the streams.

    Examples:
        >>> source = MixtureSource((), dim=64, vocab=64, seed=0, split="train")
        >>> episode = source.batch(0, 3)
        >>> episode.train_x.shape[::2], torch.equal(source.batch(0, 2).train_x, episode.train_x[:2])
        (torch.Size([3, 64]), True)
    """

    features: Sequence[FeatureClasses]
    dim: int
    vocab: int
    seed: int
    split: Split
    lengths: Lengths = "mixed"

    def batch(self, first_index: int, batch_size: int) -> Episode:
        """Episodes `first_index` to `first_index + batch_size - 1`, with the sizes of `first_index`.

        Raises:
            InvalidValueError: If the batch is empty, or the seed or an index out of range.
        """
        check_indices("MixtureSource", self.seed, first_index, batch_size)
        sizes = Sizes.drawn(self._generator("sizes", first_index), self.lengths)
        indices = range(first_index, first_index + batch_size)
        parts = [self._episode(index, sizes) for index in indices]
        return Episode(*(torch.stack(tensors) for tensors in zip(*parts, strict=True)))

    def _generator(self, what: str, index: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, zlib.crc32(f"{self.split}/{what}".encode()), index])

    def _episode(self, index: int, sizes: Sizes) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        generator = self._generator("episode", index)
        train_y = self._labels(index, sizes, generator)
        test_y = torch.arange(sizes.tasks).repeat_interleave(sizes.queries)
        read, asked = train_y.numpy(), test_y.numpy()
        if self.features and index % 2:
            chosen = self.features[index // 2 % len(self.features)]
            borrowed = BorrowedClasses.drawn(generator, chosen, sizes.tasks)
            train = borrowed.examples(generator, read, queries=False)
            test = borrowed.examples(generator, asked, queries=True)
        else:
            synthetic = SyntheticClasses.drawn(generator, sizes.tasks)
            train, test = synthetic.examples(generator, read), synthetic.examples(generator, asked)
        seed = int(generator.integers(2**31))
        train_x, test_x = adapted(torch.from_numpy(train), torch.from_numpy(test), self.dim, seed)
        codebook = torch.from_numpy(generator.permutation(self.vocab))
        return train_x, train_y, test_x, test_y, codebook

    def _labels(self, index: int, sizes: Sizes, generator: np.random.Generator) -> Tensor:
        orders = get_args(MixedOrder)
        order: MixedOrder = orders[index // 2 % len(orders)]  # both kinds of classes get every order
        plain = "imbalanced" if order == "imbalanced, shuffled" else order
        most = _MOST * sizes.shots
        labels = stream_labels(plain, sizes.tasks, sizes.shots, most, self.seed, self.split, index)
        if order == "imbalanced, shuffled":
            labels = by_appearance(labels[torch.from_numpy(generator.permutation(len(labels)))])
        return labels
