"""One stream of examples and the learner that reads it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from mambacl.errors import InvalidValueError
from mambacl.learner import Learner
from mambacl.state import LearnerState
from mambacl.streams.adapter import Adapter

OPENING = 10
"""Number of first examples that are kept and read again while few examples give mean and variance."""

_CHUNK = 512
"""Examples or queries per call of the learner, to bound memory."""


@dataclass(frozen=True, eq=False)
class Opening:
    """The first examples of a stream.

    Standardised by its own mean alone, the first example would be zero. So the first `OPENING` examples are
    all read again, with the present mean and variance, whenever one of them arrives.

    Attributes:
        x: Features before adaptation, (OPENING, features) float64; zeros for examples not read yet.
        y: Targets, (OPENING,) int64 or (OPENING, dim) float64.
    """

    x: Tensor
    y: Tensor

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        return self.x.nbytes + self.y.nbytes


@dataclass(frozen=True, eq=False)
class Stream:
    """What a learner has kept of one stream. It is immutable: reading returns a new one. Its size is fixed,
    except with attention.

    Attributes:
        learner: Learner that reads the stream; its weights and buffers must not change.
        seed: Seed of the codebook, the projection, and the learner's random numbers.
        state: State of the learner, of one stream.
        adapter: Adapter of the features; None if the encoder takes them unchanged.
        opening: First examples; None without an adapter.
    """

    learner: Learner
    seed: int
    state: LearnerState
    adapter: Adapter | None = None
    opening: Opening | None = None

    @staticmethod
    def begin(learner: Learner, seed: int, features: int, *, adapt: bool) -> Stream:
        """A stream before any example.

        Args:
            learner: Learner that will read the stream.
            seed: Seed, 0 to 2^64 - 1.
            features: Number of features of an input; without `adapt`, the encoder's number of inputs.
            adapt: Whether to adapt features.
        """
        state = learner.init_state(seed=seed)
        if not adapt:
            return Stream(learner, seed, state)
        outputs = input_numbers(learner)
        opening = Opening(torch.zeros(OPENING, features, dtype=torch.float64), opening_targets(learner))
        return Stream(learner, seed, state, Adapter.drawn(features, outputs, seed), opening)

    @property
    def nbytes(self) -> int:
        """Bytes of the learner's state, the adapter and the opening; the learner is not counted."""
        return sum(part.nbytes for part in (self.state, self.adapter, self.opening) if part is not None)

    def read(self, x: Tensor, y: Tensor) -> Stream:
        """The stream after more examples, in order.

        Args:
            x: Features, (n, features) float64, finite.
            y: Numbers of labels, (n,) int64; or vectors, (n, dim) float64.

        Returns:
            A new stream; this one does not change.

        Raises:
            InvalidValueError: If a number is too large for the learner.
        """
        stream = self
        for part_x, part_y in zip(x.split(_CHUNK), y.split(_CHUNK), strict=True):
            stream = stream._read(part_x, part_y)
        return stream

    def widened(self, past: Tensor) -> Stream | None:
        """The stream with new features added, each of which was constant in all earlier examples.

        While the opening holds all examples, they are read again with the new features.

        Args:
            past: Value of each new feature in the earlier examples, (new,) float64.

        Returns:
            A new stream; None if features are not adapted, as the number of inputs is then fixed.
        """
        if self.adapter is None or self.opening is None:
            return None
        if len(past) == 0:
            return self
        count = self.adapter.count
        x = torch.cat([self.opening.x, past.expand(OPENING, -1)], dim=1)
        x[count:] = 0
        if count <= OPENING:
            features = x.shape[1]
            again = Stream.begin(self.learner, self.seed, features, adapt=True)
            return again.read(x[:count], self.opening.y[:count])
        adapter = self.adapter.widened(past, self.seed)
        return dataclasses.replace(self, adapter=adapter, opening=Opening(x, self.opening.y))

    def answer(self, x: Tensor) -> Tensor:
        """The learner's answers to queries.

        Args:
            x: Features, (n, features) float64, finite.

        Returns:
            Logits by number of label, (n, vocab), or vectors, (n, dim), on the CPU, float64.

        Raises:
            InvalidValueError: If a number is too large for the learner.
        """
        inputs = self._inputs(x if self.adapter is None else self.adapter.apply(x))
        with torch.no_grad():
            output = self.learner.predict(self.state, inputs, chunk_size=_CHUNK)[0].double().cpu()
        if output.isnan().any() or output.isposinf().any():
            raise InvalidValueError("X holds a value too large for the learner: its answer is not finite")
        return output

    def _read(self, x: Tensor, y: Tensor) -> Stream:
        if self.adapter is None or self.opening is None:
            return self._observed(self.state, x, y)
        stream, adapter, opening = self, self.adapter, self.opening
        early = min(max(OPENING - adapter.count, 0), len(x))
        if early:
            until = adapter.count + early
            kept_x, kept_y = opening.x.clone(), opening.y.clone()
            kept_x[adapter.count : until], kept_y[adapter.count : until] = x[:early], y[:early]
            opening, adapter = Opening(kept_x, kept_y), adapter.after(x[:early])
            again = adapter.apply(kept_x[:until])
            stream = stream._observed(self.learner.init_state(seed=self.seed), again, kept_y[:until])
        if early < len(x):
            adapted, adapter = adapter.reading(x[early:])
            stream = stream._observed(stream.state, adapted, y[early:])
        if not adapter.squares.isfinite().all():
            raise InvalidValueError("X holds a value too large for its variance to be finite in float64")
        return dataclasses.replace(stream, adapter=adapter, opening=opening)

    def _observed(self, state: LearnerState, x: Tensor, y: Tensor) -> Stream:
        targets = y if self.learner.is_classifier else y.to(self.learner.dtype)
        if not targets.isfinite().all():
            raise InvalidValueError("y holds a value too large for the learner")
        with torch.no_grad():
            after = self.learner.observe(state, self._inputs(x), targets.to(self.learner.device)[None])
        floats = [tensor for tensor in after.tensors() if tensor.is_floating_point()]
        if not all(tensor.isfinite().all() for tensor in floats):
            raise InvalidValueError(
                "X or y holds a value too large for the learner: its state would not be finite"
            )
        return dataclasses.replace(self, state=after)

    def _inputs(self, x: Tensor) -> Tensor:
        """Inputs in the encoder's shape, (1, n, ...), on the learner's device, in its dtype."""
        inputs = x.to(self.learner.dtype)
        if not inputs.isfinite().all():
            raise InvalidValueError(f"X holds infinity or a value too large for {self.learner.dtype}")
        return inputs.to(self.learner.device).reshape(1, len(x), *self.learner.config.encoder.input_shape)


def input_numbers(learner: Learner) -> int:
    """Number of elements of one input of a learner."""
    return torch.Size(learner.config.encoder.input_shape).numel()


def target_numbers(learner: Learner) -> int:
    """Number of symbols of a learner of classes, or the dimension of the vectors it answers with."""
    target = learner.config.target
    return target.vocab if target.kind == "class" else target.dim


def opening_targets(learner: Learner) -> Tensor:
    """Zeros for the targets of an opening, (OPENING,) int64 or (OPENING, dim) float64."""
    if learner.is_classifier:
        return torch.zeros(OPENING, dtype=torch.int64)
    return torch.zeros(OPENING, target_numbers(learner), dtype=torch.float64)
