"""Learners whose answers are known beforehand, and episodes that are written down."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from mambacl import Episode, Learner, LearnerState, Trace
from small_learners import small_config

Script = Callable[[LearnerState, Tensor], Tensor]
"""From a state and queries, (batch, Q, DIM), to logits, (batch, Q, VOCAB)."""


class ScriptedLearner(Learner):
    """Reads as any learner and answers by a script. It counts the examples it was given to read."""

    def __init__(self, script: Script) -> None:
        super().__init__(small_config())
        self.script = script
        self.read = 0

    def observe(self, state: LearnerState, x: Tensor, y: Tensor) -> LearnerState:
        self.read += y.numel()
        return super().observe(state, x, y)

    def predict(
        self, state: LearnerState, x: Tensor, trace: Trace | None = None, *, chunk_size: int | None = None
    ) -> Tensor:
        return self.script(state, x)


@dataclass(frozen=True, eq=False)
class WrittenEpisodes:
    """The episodes of one large batch, one after the other."""

    episodes: Episode

    def batch(self, first_index: int, batch_size: int) -> Episode:
        """Episodes `first_index` to `first_index + batch_size - 1`."""
        wanted = slice(first_index, first_index + batch_size)
        values = {field.name: getattr(self.episodes, field.name) for field in dataclasses.fields(Episode)}
        return Episode(**{name: tensor[wanted] for name, tensor in values.items() if tensor is not None})
