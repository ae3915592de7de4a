"""The sizes of a batch of episodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

TASKS = (2, 50)
"""Least and most classes of an episode."""

SHOTS = (1, 10)
"""Least and most examples of a class on average, but for long streams."""

LONG = (100, 1500)
"""Least and most examples of a long stream, about."""

LONG_SHARE = 0.08
"""Share of batches with long streams: what is learnt on short ones alone fails on those that users have."""

QUERIES = 40
"""Of an episode, about."""

Lengths = Literal["mixed", "long"]
"""Of streams: of all sorts, or long ones alone."""


@dataclass(frozen=True)
class Sizes:
    """The sizes of the episodes of a batch, which are those of one tensor.

    Attributes:
        tasks: Classes.
        shots: Examples of a class on average.
        queries: Of a class.
    """

    tasks: int
    shots: int
    queries: int

    @staticmethod
    def drawn(generator: np.random.Generator, lengths: Lengths = "mixed") -> Sizes:
        """Sizes by chance: of classes, and of examples of long streams, few are as likely as many, by their
        logarithm.

        Args:
            generator: Of the sizes.
            lengths: Whether all are long, or a share.

        Examples:
            >>> Sizes.drawn(np.random.default_rng(0))
            Sizes(tasks=4, shots=4, queries=10)
        """
        long = generator.random() < LONG_SHARE or lengths == "long"
        tasks = _log_uniform(generator, *TASKS)
        shots = (
            max(1, _log_uniform(generator, *LONG) // tasks)
            if long
            else int(generator.integers(SHOTS[0], SHOTS[1] + 1))
        )
        return Sizes(tasks, shots, max(1, QUERIES // tasks))


def _log_uniform(generator: np.random.Generator, least: int, most: int) -> int:
    return min(most, int(np.exp(generator.uniform(np.log(least), np.log(most + 1)))))
