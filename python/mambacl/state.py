"""What a learner remembers of its streams.

A state is a value: `observe` makes another and leaves it as it is. To keep a snapshot is to keep the old
state, to undo is to go back to it; neither copies anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mambacl.errors import DeviceError, DtypeError, InvalidValueError, ShapeError
from mambacl.flags import flag
from mambacl.layer_state import LayerState
from mambacl.ops.checks import check_types
from mambacl.state_checks import check_rows, stream_indices


@dataclass(frozen=True, eq=False)
class LearnerState:
    """The state of a batch of streams: fixed in size whatever they have seen, but for attention's.

    Streams are chosen with `select`, put back with `scatter` and joined with `cat`. Those of one state may
    have observed different numbers of examples, unless it `uses_positions`.

    Attributes:
        examples: Examples observed by each stream; where they differ, by the one that has observed the
            fewest.
        codebook: The symbol of each label, (batch, vocab) int64; None for vector targets.
        seen: Whether a label has been observed, (batch, vocab) bool; None for vector targets.
        layers: The memory of each layer.
        counts: Examples observed by each stream, (batch,) int64 on the CPU, where they differ; else None.

    Raises:
        InvalidValueError: If there is no tensor at all: such a state is of no stream; if `examples` is
            negative, or not the least of `counts`; if the state `uses_positions` and there are
            counts.
        ShapeError: If the counts are not of as many streams.

    Examples:
        >>> from mambacl import Learner, SequenceConfig, VectorEncoder
        >>> learner = Learner(SequenceConfig(VectorEncoder(dim=8), d_model=32))
        >>> learner.init_state().nbytes == learner.init_state(batch_size=3).nbytes / 3
        True
        >>> learner.init_state(batch_size=3)
        LearnerState(batch_size=3, examples=0, nbytes=30912, layers=2 x mamba)
    """

    examples: int
    codebook: Tensor | None
    seen: Tensor | None
    layers: tuple[LayerState, ...]
    counts: Tensor | None = None

    def __post_init__(self) -> None:
        if not self.tensors():
            raise InvalidValueError("LearnerState: a state must hold at least one tensor, got none")
        if self.examples < 0:
            raise InvalidValueError(f"LearnerState: `examples` must be at least 0, got {self.examples}")
        if self.counts is None:
            return
        if self.uses_positions:
            raise InvalidValueError(
                "LearnerState: `counts` must be None, as tokens of this learner have positions"
            )
        if self.counts.shape != (self.batch_size,):
            raise ShapeError(
                f"LearnerState: `counts` must have shape ({self.batch_size},), got {tuple(self.counts.shape)}"
            )
        if self.counts.min() != self.examples:
            raise InvalidValueError(
                f"LearnerState: `examples` must be the least of `counts`, {int(self.counts.min())}, "
                f"got {self.examples}"
            )

    def __repr__(self) -> str:
        """Without its tensors, which `tensors` gives."""
        most = self.examples if self.counts is None else int(self.counts.max())
        examples = f"{self.examples}" if most == self.examples else f"{self.examples} to {most}"
        kinds = Counter(layer.spec.kind for layer in self.layers)
        layers = " + ".join(f"{number} x {kind}" for kind, number in kinds.items()) or "none"
        return (
            f"LearnerState(batch_size={self.batch_size}, examples={examples}, nbytes={self.nbytes}, "
            f"layers={layers})"
        )

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

        Examples:
            >>> from mambacl import AttentionMixer, Learner, SequenceConfig, VectorEncoder
            >>> encoder = VectorEncoder(dim=8)
            >>> Learner(SequenceConfig(encoder, mixer=AttentionMixer())).init_state().grows
            True
            >>> Learner(SequenceConfig(encoder)).init_state().grows
            False
        """
        return any(layer.spec.grows for layer in self.layers)

    @property
    def uses_positions(self) -> bool:
        """Whether tokens have positions in the stream, as with attention, linear attention and Performer: all
        streams of a state must then have observed as many examples."""
        return any(layer.spec.uses_positions for layer in self.layers)

    def examples_of_each(self) -> Tensor:
        """Examples observed by each stream, (batch,) int64 on the CPU."""
        if self.counts is not None:
            return self.counts
        return torch.full((self.batch_size,), self.examples, device="cpu")

    def select(self, indices: Tensor | Sequence[int]) -> LearnerState:
        """The state of some streams, a copy.

        Args:
            indices: Of streams, (n,) integers from 0 to batch - 1, in any order, repeated or not.

        Returns:
            A state of n streams.

        Raises:
            ShapeError, DtypeError, InvalidValueError: If the indices do not fit.

        Examples:
            >>> from mambacl import Learner, SequenceConfig, VectorEncoder
            >>> learner = Learner(SequenceConfig(VectorEncoder(dim=8), d_model=32)).eval()
            >>> users = learner.init_state(batch_size=1000)
            >>> some, x, y = [3, 141, 59], torch.randn(3, 1, 8), torch.tensor([[0], [1], [0]])
            >>> after = learner.observe(users.select(some), x, y)
            >>> users = users.scatter(some, after)
            >>> users.examples_of_each()[[3, 4, 59]]
            tensor([1, 0, 1])
        """
        where = stream_indices("select", indices, self.batch_size)
        counts = self.examples_of_each()[where]
        return self._map(lambda tensor: tensor.index_select(0, where.to(tensor.device)), counts)

    def scatter(
        self, indices: Tensor | Sequence[int], other: LearnerState, *, in_place: bool = False
    ) -> LearnerState:
        """The state with some streams replaced.

        Args:
            indices: Of streams, (n,) integers from 0 to batch - 1, none twice.
            other: Of n streams, of the same learner.
            in_place: Write into this state's memory, which no other state may share then; neither this state
                nor a snapshot of it is to be used any more. Without it all streams are copied.

        Returns:
            A state of as many streams as this one.

        Raises:
            TypeError: If `other` is no state.
            ShapeError, DtypeError, DeviceError: If `other` or the indices do not fit.
            InvalidValueError: If an index is out of range or there twice; or if streams have observed
                different numbers of examples, and the state `uses_positions`.

        Examples:
            See `select`.
        """
        op = "scatter"
        _check_state(op, "other", other)
        in_place = flag(op, "in_place", in_place)
        where = stream_indices(op, indices, self.batch_size)
        streams, times = where.unique(return_counts=True)
        if len(streams) != len(where):
            twice = int(streams[times.argmax()])
            raise InvalidValueError(f"{op}: argument `indices` must name no stream twice, got {twice} again")
        if other.batch_size != where.numel():
            raise ShapeError(
                f"{op}: argument `other` must be of {where.numel()} streams, as `indices`, "
                f"got {other.batch_size}"
            )
        _check_alike(op, "other", self, other)
        replacements = iter(other.tensors())

        def replaced(tensor: Tensor) -> Tensor:
            # What is expanded has one memory for all streams: it is copied even so.
            target = tensor.contiguous() if in_place else tensor
            arguments = 0, where.to(tensor.device), next(replacements)
            return target.index_copy_(*arguments) if in_place else target.index_copy(*arguments)

        counts = self.examples_of_each().index_copy(0, where, other.examples_of_each())
        return self._map(replaced, counts)

    @staticmethod
    def cat(states: Sequence[LearnerState]) -> LearnerState:
        """The state of all streams of several states, one after the other.

        Args:
            states: Of one learner, at least one.

        Returns:
            A state of all their streams.

        Raises:
            TypeError: If they are no states.
            ShapeError, DtypeError, DeviceError: If they are not of one learner.
            InvalidValueError: If there is none; or if they have observed different numbers of examples, and
                the first `uses_positions`.

        Examples:
            >>> from mambacl import Learner, LearnerState, SequenceConfig, VectorEncoder
            >>> learner = Learner(SequenceConfig(VectorEncoder(dim=8), d_model=32))
            >>> LearnerState.cat([learner.init_state(2), learner.init_state(3)]).batch_size
            5
        """
        given: Any = states
        if isinstance(given, LearnerState | Tensor) or not isinstance(given, Iterable):
            raise TypeError(f"cat: argument `states` must be a list of states, got {type(given).__name__}")
        states = list(states)
        if not states:
            raise InvalidValueError("cat: argument `states` must hold at least one state, got none")
        for number, state in enumerate(states):
            _check_state("cat", f"states[{number}]", state)
        first, *others = states
        for number, other in enumerate(others, 1):
            _check_alike("cat", f"states[{number}]", first, other)
        columns = iter(zip(*(state.tensors() for state in states), strict=True))
        counts = torch.cat([state.examples_of_each() for state in states])
        return first._map(lambda _tensor: torch.cat(next(columns)), counts)

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
            TypeError: If the logits are no tensor of floating point.
            ShapeError, DeviceError: If the logits do not fit the state.
            InvalidValueError: If the state is of vector targets, or no example has been observed.

        Examples:
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
            TypeError, ShapeError, DeviceError, InvalidValueError: As `answers`.
        """
        return self._among_seen("log_probabilities", logits).log_softmax(-1)

    def _among_seen(self, op: str, logits: Tensor) -> Tensor:
        """The logits, -inf for labels not observed."""
        if self.seen is None:
            raise InvalidValueError(f"{op}: the state must be of classes, got one of vector targets")
        if self.examples == 0:
            raise InvalidValueError(f"{op}: the state must have observed an example, got none")
        check_types(op, ("logits",), (logits,), required=1)
        if not logits.is_floating_point():
            raise DtypeError(f"{op}: argument `logits` must be floating point, got {logits.dtype}")
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

    def _map(self, function: Callable[[Tensor], Tensor], counts: Tensor | None = None) -> LearnerState:
        """The same state with other tensors, of `function`, called in the order of `tensors`; and where they
        are of other streams, with other numbers of examples."""
        examples, uneven = self.examples, self.counts
        if counts is not None:
            examples, most = (int(bound) for bound in counts.aminmax())
            uneven = None if examples == most else counts
        return LearnerState(
            examples,
            None if self.codebook is None else function(self.codebook),
            None if self.seen is None else function(self.seen),
            tuple(LayerState(layer.spec, map(function, layer)) for layer in self.layers),
            uneven,
        )


def _check_state(op: str, name: str, state: object) -> None:
    if not isinstance(state, LearnerState):
        raise TypeError(f"{op}: argument `{name}` must be a LearnerState, got {type(state).__name__}")


def _check_alike(op: str, name: str, one: LearnerState, other: LearnerState) -> None:
    """Checks that two states may be parts of one."""
    kinds, other_kinds = (
        (state.codebook is not None, [layer.spec.kind for layer in state.layers]) for state in (one, other)
    )
    if kinds != other_kinds:
        raise ShapeError(f"{op}: argument `{name}` must be of the same learner, got layers {other_kinds[1]}")
    if one.uses_positions and one.examples != other.examples:
        raise InvalidValueError(
            f"{op}: argument `{name}` must have observed {one.examples} examples, as tokens of this learner "
            f"have positions, got {other.examples}"
        )
    check_rows(op, name, one.tensors(), other.tensors())
