"""What reading a stream leaves for meta-training, beside the state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

PlainTrace: TypeAlias = tuple[
    list[tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor | None, bool] | None], Tensor | None
]
"""A trace as the engine takes and gives it."""


@dataclass(frozen=True, eq=False)
class Keys:
    """What the tokens of a stream are found by, in one layer.

    Attributes:
        features: (batch, heads, tokens, features).
        log_weight: Added to the logits of the association, (batch, heads, tokens); None for nothing.
        positive: Whether features are positive, as in linear attention: the logit is then the logarithm of
            the inner product with a query's, else the inner product.
    """

    features: Tensor
    log_weight: Tensor | None
    positive: bool = False


@dataclass(frozen=True, eq=False)
class Trace:
    """What reading a stream in training leaves for its queries. It grows with the stream and is no
    part of the state.

    Attributes:
        moments: Mean and variance of each of the encoder's norms over the stream.
        keys: For each layer, or None where the regulariser does not look; empty where there are no layers.
        auxiliary: Added to the loss: the weighted balance of experts, a number; None where there are none.
    """

    moments: tuple[tuple[Tensor, Tensor], ...]
    keys: tuple[Keys | None, ...]
    auxiliary: Tensor | None = None

    def plain(self) -> PlainTrace:
        """As the engine takes it."""
        keys = [None if key is None else (key.features, key.log_weight, key.positive) for key in self.keys]
        return list(self.moments), keys, self.auxiliary

    @staticmethod
    def of_plain(plain: PlainTrace) -> Trace:
        """From what the engine gives."""
        moments, keys, auxiliary = plain
        return Trace(tuple(moments), tuple(None if key is None else Keys(*key) for key in keys), auxiliary)
