"""Predictors that do not look at the query, for vector targets."""

from __future__ import annotations

import torch
from torch import Tensor

from mambacl.episodes import Episode
from mambacl.errors import DtypeError


def mean_target(episode: Episode) -> Tensor:
    """Answers each query with the mean of the stream's targets.

    Args:
        episode: Episodes with vectors.

    Returns:
        Predicted vectors, (batch, Q, dim).

    Raises:
        DtypeError: If the targets are labels.

    Examples:
        >>> x, y = torch.zeros(1, 2, 1), torch.tensor([[[1.0], [2.0]]])
        >>> mean_target(Episode(x, y, x, y, codebook=torch.zeros(1, 0, dtype=torch.int64))).flatten()
        tensor([1.5000, 1.5000])
    """
    return _vectors(episode).mean(1, keepdim=True).expand_as(episode.test_y)


def zero(episode: Episode) -> Tensor:
    """Answers each query with zero.

    Args:
        episode: Episodes with vectors.

    Returns:
        Predicted vectors, (batch, Q, dim).

    Raises:
        DtypeError: If the targets are labels.
    """
    _vectors(episode)
    return torch.zeros_like(episode.test_y)


def _vectors(episode: Episode) -> Tensor:
    if not episode.train_y.is_floating_point():
        raise DtypeError(f"yardsticks: `episode.train_y` must hold vectors, got {episode.train_y.dtype}")
    return episode.train_y
