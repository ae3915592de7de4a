"""What a learner remembers of its streams, and what reading them leaves for meta-training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mambacl.errors import DeviceError, InvalidValueError, ShapeError
from mambacl.layer_states import AttentionState, LayerState


@dataclass(frozen=True, eq=False)
class LearnerState:
    """The state of a batch of streams: fixed in size whatever they have seen, but for attention's.

    Attributes:
        examples: Examples observed by each stream.
        codebook: The symbol of each label, (batch, vocab) int64; None for vector targets.
        seen: Whether a label has been observed, (batch, vocab) bool; None for vector targets.
        layers: The memory of each layer.

    Raises:
        InvalidValueError: If there is no tensor at all: such a state is of no stream; or if `examples` is
            negative.

    Example:
        >>> from mambacl import Learner, SequenceConfig, VectorEncoder
        >>> learner = Learner(SequenceConfig(VectorEncoder(dim=8), d_model=32))
        >>> learner.init_state().nbytes == learner.init_state(batch_size=3).nbytes / 3
        True
    """

    examples: int
    codebook: Tensor | None
    seen: Tensor | None
    layers: tuple[LayerState, ...]

    def __post_init__(self) -> None:
        if not self.tensors():
            raise InvalidValueError("LearnerState: a state must hold at least one tensor, got none")
        if self.examples < 0:
            raise InvalidValueError(f"LearnerState: `examples` must be at least 0, got {self.examples}")

    @property
    def batch_size(self) -> int:
        """The number of streams."""
        return len(self.tensors()[0])

    @property
    def nbytes(self) -> int:
        """The bytes that the state holds, codebook included."""
        return sum(tensor.nbytes for tensor in self.tensors())

    @property
    def grows(self) -> bool:
        """Whether the state grows with what is read, as attention's does.

        Example:
            >>> from mambacl import AttentionMixer, Learner, SequenceConfig, VectorEncoder
            >>> encoder = VectorEncoder(dim=8)
            >>> Learner(SequenceConfig(encoder, mixer=AttentionMixer())).init_state().grows
            True
            >>> Learner(SequenceConfig(encoder)).init_state().grows
            False
        """
        return any(isinstance(layer, AttentionState) for layer in self.layers)

    def tensors(self) -> list[Tensor]:
        """All tensors: codebook and seen labels, if any, then layer by layer."""
        labels = [tensor for tensor in (self.codebook, self.seen) if tensor is not None]
        return labels + [tensor for layer in self.layers for tensor in layer]

    def answers(self, logits: Tensor) -> Tensor:
        """The label of the largest logit among the labels observed.

        Args:
            logits: Of `predict` from this state, (batch, Q, vocab), floating point.

        Returns:
            Labels, (batch, Q) int64.

        Raises:
            ShapeError, DeviceError: If the logits do not fit the state.
            InvalidValueError: If the state is of vector targets, or no example has been observed.

        Example:
            >>> from mambacl import Learner, SequenceConfig, VectorEncoder
            >>> learner = Learner(SequenceConfig(VectorEncoder(dim=8), d_model=32)).eval()
            >>> x, y = torch.randn(1, 2, 8), torch.tensor([[3, 3]])
            >>> state = learner.observe(learner.init_state(), x, y)
            >>> state.answers(learner.predict(state, x))
            tensor([[3, 3]])
        """
        return self._among_seen("answers", logits).argmax(-1)

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """The logarithm of the softmax over the labels observed.

        Args:
            logits: Of `predict` from this state, (batch, Q, vocab), floating point.

        Returns:
            (batch, Q, vocab), as `logits`; -inf for labels not observed.

        Raises:
            ShapeError, DeviceError, InvalidValueError: As `answers`.
        """
        return self._among_seen("log_probabilities", logits).log_softmax(-1)

    def _among_seen(self, op: str, logits: Tensor) -> Tensor:
        """The logits, -inf for labels not observed."""
        if self.seen is None:
            raise InvalidValueError(f"{op}: the state must be of classes, got one of vector targets")
        if self.examples == 0:
            raise InvalidValueError(f"{op}: the state must have observed an example, got none")
        batch, vocab = self.seen.shape
        if logits.ndim != 3 or (logits.shape[0], logits.shape[2]) != (batch, vocab):
            raise ShapeError(
                f"{op}: argument `logits` must have shape ({batch}, Q, {vocab}), got {tuple(logits.shape)}"
            )
        if logits.device != self.seen.device:
            raise DeviceError(
                f"{op}: argument `logits` must be on {self.seen.device}, as the state, got {logits.device}"
            )
        return logits.masked_fill(~self.seen.unsqueeze(1), -torch.inf)

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
