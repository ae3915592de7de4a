"""Predictors without learning, on raw inputs.

They compare inputs flattened, by Euclidean distance, and read targets from the stream only.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mambacl.episodes import Episode
from mambacl.errors import DtypeError


def nearest_neighbour(episode: Episode) -> Tensor:
    """Answers each query with the target of the nearest example of the stream.

    Args:
        episode: Episodes with labels or vectors.

    Returns:
        Predicted labels, (batch, Q) int64; or vectors, (batch, Q, dim).

    Examples:
        >>> x, y = torch.tensor([[[0.0], [10.0]]]), torch.tensor([[0, 1]])
        >>> nearest_neighbour(Episode(x, y, x + 1, y, codebook=torch.arange(2)[None]))
        tensor([[0, 1]])
    """
    distances = torch.cdist(episode.test_x.flatten(2), episode.train_x.flatten(2))  # (batch, Q, T)
    stream = torch.arange(episode.batch_size, device=distances.device).unsqueeze(1)
    return episode.train_y[stream, distances.argmin(-1)]


def class_mean(episode: Episode) -> Tensor:
    """Answers each query with the label whose examples have the nearest mean.

    Args:
        episode: Episodes with labels.

    Returns:
        Predicted labels, (batch, Q) int64; never one that its stream does not hold.

    Raises:
        DtypeError: If the targets are vectors.

    Examples:
        >>> x, y = torch.tensor([[[0.0], [4.0], [5.0]]]), torch.tensor([[0, 0, 1]])
        >>> class_mean(Episode(x, y, x, y, codebook=torch.arange(2)[None]))
        tensor([[0, 1, 1]])
    """
    labels = _labels(episode)
    inputs = episode.train_x.flatten(2)  # (batch, T, features)
    members = torch.nn.functional.one_hot(labels).to(inputs.dtype)  # (batch, T, classes)
    counts = members.sum(1)  # (batch, classes)
    means = members.transpose(1, 2) @ inputs / counts.clamp(min=1).unsqueeze(-1)
    distances = torch.cdist(episode.test_x.flatten(2), means)  # (batch, Q, classes)
    return distances.masked_fill((counts == 0).unsqueeze(1), torch.inf).argmin(-1)


def _labels(episode: Episode) -> Tensor:
    if episode.train_y.dtype != torch.int64:
        raise DtypeError(f"yardsticks: `episode.train_y` must hold int64 labels, got {episode.train_y.dtype}")
    return episode.train_y
