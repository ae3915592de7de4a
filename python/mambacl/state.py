"""What a learner remembers of its streams: typed collections of tensors, fixed in size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class MambaState(NamedTuple):
    """All that a Mamba layer keeps of the tokens it has read.

    Attributes:
        conv_window: The last d_conv - 1 inputs of the convolution, (groups, d_inner, d_conv - 1).
        ssm_state: The state h of the recurrence, (groups, d_inner, d_state).
    """

    conv_window: Tensor
    ssm_state: Tensor


LayerState = MambaState

LAYER_STATES: dict[str, type[LayerState]] = {"mamba": MambaState}
"""The state of a layer by the kind of its mixer."""


@dataclass(frozen=True, eq=False)
class LearnerState:
    """The state of a batch of streams.

    Attributes:
        examples: Examples observed by each stream.
        codebook: The symbol of each label, (batch, vocab) int64; None for vector targets.
        seen: Whether a label has been observed, (batch, vocab) bool; None for vector targets.
        layers: The memory of each layer.

    Example:
        >>> from mambacl import Learner, LearnerConfig, VectorEncoder
        >>> learner = Learner(LearnerConfig(VectorEncoder(dim=8), d_model=32))
        >>> learner.init_state().nbytes == learner.init_state(batch_size=3).nbytes / 3
        True
    """

    examples: int
    codebook: Tensor | None
    seen: Tensor | None
    layers: tuple[LayerState, ...]

    @property
    def batch_size(self) -> int:
        """The number of streams."""
        return len(self.tensors()[0])

    @property
    def nbytes(self) -> int:
        """The bytes that the state holds, codebook included."""
        return sum(tensor.nbytes for tensor in self.tensors())

    def tensors(self) -> list[Tensor]:
        """All tensors: codebook and seen labels, if any, then layer by layer."""
        labels = [tensor for tensor in (self.codebook, self.seen) if tensor is not None]
        return labels + [tensor for layer in self.layers for tensor in layer]

    def to(self, device: torch.device | str) -> LearnerState:
        """The same state on another device."""
        return self._map(lambda tensor: tensor.to(device))

    def detach(self) -> LearnerState:
        """The same state, cut off from the graph that made it."""
        return self._map(torch.Tensor.detach)

    def clone(self) -> LearnerState:
        """A copy that shares no memory."""
        return self._map(torch.clone)

    def _map(self, function: Callable[[Tensor], Tensor]) -> LearnerState:
        return LearnerState(
            self.examples,
            None if self.codebook is None else function(self.codebook),
            None if self.seen is None else function(self.seen),
            tuple(type(layer)(*map(function, layer)) for layer in self.layers),
        )


@dataclass(frozen=True, eq=False)
class Keys:
    """What the tokens of a stream are found by, in one layer.

    Attributes:
        features: (batch, heads, tokens, features).
        log_weight: Added to the logits of the association, (batch, heads, tokens); None for nothing.
    """

    features: Tensor
    log_weight: Tensor | None


@dataclass(frozen=True, eq=False)
class Trace:
    """What reading a stream in training leaves for its queries. It grows with the stream and is no
    part of the state.

    Attributes:
        moments: Mean and variance of each of the encoder's norms over the stream.
        keys: For each layer, or None where the regulariser does not look.
    """

    moments: tuple[tuple[Tensor, Tensor], ...]
    keys: tuple[Keys | None, ...]
