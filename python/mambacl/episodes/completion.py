"""Image completion, a regression task of CL-as-Seq (arXiv:2310.11952): from top halves to bottom halves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from mambacl.data.image_classes import ImageClasses
from mambacl.data.splits import Split
from mambacl.episodes.episode import Episode
from mambacl.episodes.image_tasks import image_source, of_vectors
from mambacl.episodes.sizes import EpisodeSizes
from mambacl.episodes.source import EpisodeSource
from mambacl.errors import InvalidValueError


@dataclass(frozen=True, eq=False)
class CompletionEpisodes:
    """Draws episodes of image completion, a pure function of (seed, split, index).

    A task is a class of images, and an example is one of its images: the input is the top half, the target
    the bottom half, from -1 (background) to 1 (ink). With characters, the queries use other typefaces than
    the stream. CL-as-Seq uses CASIA's handwriting and bounds answers with a tanh. Here the classes are
    rendered characters (`mambacl.data.hanzi21`), answers are not bounded, and the sizes of episodes differ.

    Attributes:
        images: Classes of images with an even height.
        spec: Sizes of an episode.
        seed: Seed, 0 to 2^64 - 1.
        split: Split; episodes of different splits are independent. Usually the split of `images`.

    Raises:
        InvalidValueError: If the images' height is odd.

    Examples:
        >>> from mambacl.data import hanzi21
        >>> sizes = EpisodeSizes(tasks=3, train_shots=2, test_shots=1)
        >>> episode = CompletionEpisodes(hanzi21.load("validation"), sizes, 0, "validation").batch(0, 4)
        >>> episode.train_x.shape, episode.test_y.shape, episode.train_task[0].tolist()
        (torch.Size([4, 6, 512]), torch.Size([4, 3, 512]), [0, 0, 1, 1, 2, 2])
    """

    images: ImageClasses
    spec: EpisodeSizes
    seed: int
    split: Split

    def __post_init__(self) -> None:
        if (height := self.images.images.shape[-2]) % 2:
            raise InvalidValueError(
                f"CompletionEpisodes: `images` must have an even height, in pixels, got {height}"
            )

    def batch(self, first_index: int, batch_size: int) -> Episode:
        """Episodes `first_index` to `first_index + batch_size - 1`.

        Returns:
            The episodes. Inputs and targets are the pixels of the halves, row by row: (batch, T, n / 2) and
            (batch, Q, n / 2) float32 for images of n values, class after class. The codebook is empty.

        Raises:
            InvalidValueError: As `EpisodeSource.batch`.
        """
        shown = self._source.batch(first_index, batch_size)
        return of_vectors(shown, _halves(shown.train_x), _halves(shown.test_x))

    @cached_property
    def _source(self) -> EpisodeSource:
        """Episodes of the whole images."""
        return image_source(self.images, self.spec, self.seed, self.split)


def _halves(images: Tensor) -> tuple[Tensor, Tensor]:
    """The upper and lower halves of images (batch, n, channels, height, width), row by row."""
    upper, lower = images.chunk(2, dim=-2)
    return upper.flatten(2), lower.flatten(2)
