"""Image rotation, a regression task of CL-as-Seq (arXiv:2310.11952): from images to their angles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from mambacl import _core
from mambacl.data.image_classes import ImageClasses
from mambacl.data.jitter import AffineJitter
from mambacl.data.splits import Split
from mambacl.episodes.episode import Episode
from mambacl.episodes.image_tasks import image_source, of_vectors
from mambacl.episodes.sizes import EpisodeSizes
from mambacl.episodes.source import EpisodeSource

_TURN = AffineJitter(degrees=180.0, scale=0.0, shear=0.0, shift=0.0)


@dataclass(frozen=True, eq=False)
class RotationEpisodes:
    """Draws episodes of image rotation, a pure function of (seed, split, index).

    A task is a class of images. An example is one of its images, rotated anticlockwise about its centre by an
    angle a ~ U(-pi, pi), with the target (cos a, sin a). Pixels that leave the square are cut off, and pixels
    that enter are background. With characters, the queries use other typefaces than the stream. Only the
    stream shows which orientation of a character is upright. CL-as-Seq uses CASIA's handwriting; here the
    classes are rendered characters (`mambacl.data.hanzi21`), and the sizes of episodes differ.

    Attributes:
        images: Classes of images.
        spec: Sizes of an episode.
        seed: Seed, 0 to 2^64 - 1.
        split: Split; episodes of different splits are independent. Usually the split of `images`.

    Examples:
        >>> from mambacl.data import hanzi21
        >>> sizes = EpisodeSizes(tasks=3, train_shots=2, test_shots=1)
        >>> episode = RotationEpisodes(hanzi21.load("validation"), sizes, 0, "validation").batch(0, 4)
        >>> episode.train_x.shape, episode.test_y.shape, episode.train_task[0].tolist()
        (torch.Size([4, 6, 1, 32, 32]), torch.Size([4, 3, 2]), [0, 0, 1, 1, 2, 2])
    """

    images: ImageClasses
    spec: EpisodeSizes
    seed: int
    split: Split

    def batch(self, first_index: int, batch_size: int) -> Episode:
        """Episodes `first_index` to `first_index + batch_size - 1`.

        Returns:
            The episodes. Inputs are images from -1 (background) to 1 (ink), (batch, T, channels, height,
            width) float32, class after class. Targets are (cos, sin), (batch, T, 2) float32. The codebook is
            empty.

        Raises:
            InvalidValueError: As `EpisodeSource.batch`.
        """
        upright = self._source.batch(first_index, batch_size)
        indices = range(first_index, first_index + batch_size)
        train = _turned(upright.train_x, self._uniforms("train", indices, self.spec.train_shots))
        test = _turned(upright.test_x, self._uniforms("test", indices, self.spec.test_shots))
        return of_vectors(upright, train, test)

    @cached_property
    def _source(self) -> EpisodeSource:
        """Episodes of the upright images."""
        return image_source(self.images, self.spec, self.seed, self.split)

    def _uniforms(self, part: str, indices: range, shots: int) -> Tensor:
        """Uniform numbers, (batch, tasks * shots) float32 in [0, 1). Each task has its own stream of numbers,
        so that more tasks or shots do not change the others."""
        streams = [f"{self.split}/rotation/{part}/{task}" for task in range(self.spec.tasks)]
        drawn = [_core.uniforms(self.seed, stream, index, shots) for index in indices for stream in streams]
        return torch.stack(drawn).view(len(indices), -1)


def _turned(images: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Rotates images (batch, n, channels, height, width) by `2 pi u - pi`, for uniforms u, (batch, n).
    Returns them and (cos, sin), (batch, n, 2)."""
    amounts = torch.full((uniforms.numel(), AffineJitter.UNIFORMS), 0.5)
    amounts[:, 0] = uniforms.flatten()
    # Pixels that enter are 0, so that the background is shifted to 0 first.
    turned = _TURN(images.flatten(0, 1) + 1, amounts).view_as(images) - 1
    angle = math.pi * (2 * uniforms.double() - 1)
    return turned, torch.stack([angle.cos(), angle.sin()], dim=-1).float()
