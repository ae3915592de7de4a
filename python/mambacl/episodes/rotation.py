"""Rotation of images, a regression of CL-as-Seq (arXiv:2310.11952): by which angle is an image turned?"""

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
    """Draws episodes of rotation; the same everywhere for the same (seed, split, index).

    A task is a class of images. An example of it is one of its images, turned anticlockwise about its middle
    by an angle a ~ U(-pi, pi), with the target (cos a, sin a); what is turned out of the square is cut off,
    and what comes in is background. For characters the queries show typefaces that the stream did not. What
    is upright differs from character to character: the stream tells. CL-as-Seq takes CASIA's handwriting;
    that classes are rendered characters (`mambacl.data.hanzi21`), and the sizes of episodes, are ours.

    Attributes:
        images: Classes to draw from.
        spec: Sizes of an episode.
        seed: 0 to 2^64 - 1.
        split: Separates the episodes of one seed; usually the split of `images`.

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
            Inputs are images from -1 (background) to 1 (ink), (batch, T, channels, height, width) float32,
            class after class; targets (cos, sin), (batch, T, 2) float32; the codebook is empty.

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
        """Of upright images."""
        return image_source(self.images, self.spec, self.seed, self.split)

    def _uniforms(self, part: str, indices: range, shots: int) -> Tensor:
        """(batch, tasks * shots) float32 in [0, 1): each task has numbers of its own, so that more tasks or
        shots change none of the others."""
        streams = [f"{self.split}/rotation/{part}/{task}" for task in range(self.spec.tasks)]
        drawn = [_core.uniforms(self.seed, stream, index, shots) for index in indices for stream in streams]
        return torch.stack(drawn).view(len(indices), -1)


def _turned(images: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Images (batch, n, channels, height, width) turned by `2 pi u - pi`, for `u` in (batch, n), and
    (cos, sin), (batch, n, 2)."""
    amounts = torch.full((uniforms.numel(), AffineJitter.UNIFORMS), 0.5)
    amounts[:, 0] = uniforms.flatten()
    # 0 is what comes in from outside.
    turned = _TURN(images.flatten(0, 1) + 1, amounts).view_as(images) - 1
    angle = math.pi * (2 * uniforms.double() - 1)
    return turned, torch.stack([angle.cos(), angle.sin()], dim=-1).float()
