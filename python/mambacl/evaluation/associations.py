"""What queries are associated with: in every layer, of any sequence learner, however it was trained."""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch
from torch import Tensor

from mambacl.config import Selectivity, SequenceConfig
from mambacl.episodes import Episode
from mambacl.errors import InvalidValueError
from mambacl.evaluation.protocol import first_state
from mambacl.learner import Learner

_OP = "associations"


def associations(
    learner: Learner, episode: Episode, association: Literal["content", "gated", "decayed"] = "content"
) -> list[Tensor]:
    """What the queries of episodes are associated with, in each layer: the distribution that the regulariser
    guides (arXiv:2412.00776), of layers that it did not guide as well. The learner is left as it was.

    As in meta-training the encoder normalises with the statistics of these very streams, not with its running
    ones: a few episodes at once come close to those.

    Args:
        learner: A sequence learner.
        episode: Episodes, on the learner's device.
        association: What stands for it, see `mambacl.Selectivity`.

    Returns:
        For each layer, (batch, heads, Q, 2 T), rows that sum to 1; the tokens are x_1, y_1, x_2, y_2, ...

    Raises:
        InvalidValueError: If the learner is of another kind.
        ConfigError: If its mixer does not tell of this association.
        ShapeError, DtypeError, DeviceError: If the episodes do not fit.

    Examples:
        >>> from mambacl import SequenceConfig, VectorEncoder
        >>> x, y = torch.randn(1, 6, 8), torch.tensor([[0, 0, 1, 1, 2, 2]])
        >>> episode = Episode(x, y, x, y, codebook=torch.arange(64)[None])
        >>> learner = Learner(SequenceConfig(VectorEncoder(dim=8), d_model=32, n_layer=2, selectivity=None))
        >>> [tuple(layer.shape) for layer in associations(learner, episode)]
        [(1, 1, 6, 12), (1, 1, 6, 12)]
    """
    if not isinstance(learner.config, SequenceConfig):
        got = type(learner.config).__name__
        raise InvalidValueError(f"{_OP}: argument `learner` must be a sequence learner, got one of {got}")
    seen = Selectivity(association=association, layers="all", weight=1.0)
    # A copy, since statistics are updated; what the regulariser looks at is no parameter.
    looking = Learner(dataclasses.replace(learner.config, selectivity=seen))
    copies = {name: tensor.clone() for name, tensor in learner.state_dict().items()}
    looking.load_state_dict(copies, assign=True)  # of their own types, on their own device
    with torch.no_grad():
        state, trace = looking.observe_traced(first_state(looking, episode), episode.train_x, episode.train_y)
        found = looking.associate(state, episode.test_x, trace)
    return [layer for layer in found if layer is not None]


def own_class(episode: Episode) -> Tensor:
    """Which tokens of a stream belong to examples with the label of a query.

    Args:
        episode: Episodes of classes.

    Returns:
        (batch, Q, 2 T) bool.

    Examples:
        >>> x, y = torch.zeros(1, 2, 8), torch.tensor([[0, 1]])
        >>> own_class(Episode(x, y, x, y, codebook=torch.arange(4)[None]))
        tensor([[[ True,  True, False, False],
                 [False, False,  True,  True]]])
    """
    same = episode.test_y.unsqueeze(-1) == episode.train_y.unsqueeze(1)  # (batch, Q, T)
    return same.repeat_interleave(2, dim=-1)
