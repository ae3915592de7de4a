"""Episodes of image regression, with one task for each class, made from episodes of classes."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from mambacl.data.image_classes import ImageClasses
from mambacl.data.splits import Split
from mambacl.episodes.episode import Episode
from mambacl.episodes.sizes import EpisodeSizes, EpisodeSpec
from mambacl.episodes.source import EpisodeSource


def image_source(images: ImageClasses, spec: EpisodeSizes, seed: int, split: Split) -> EpisodeSource:
    """Episodes of whole images, whose labels are the tasks."""
    return EpisodeSource(images, EpisodeSpec(**dataclasses.asdict(spec), vocab=spec.tasks), seed, split)


def of_vectors(shown: Episode, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> Episode:
    """Episodes of vector targets whose tasks are the classes of other episodes.

    Args:
        shown: Episodes of classes.
        train: Inputs and targets of the stream.
        test: Inputs and targets of the queries.

    Returns:
        The episodes, with an empty codebook.
    """
    codebook = torch.zeros(shown.batch_size, 0, dtype=torch.int64)
    return Episode(*train, *test, codebook=codebook, train_task=shown.train_y, test_task=shown.test_y)
