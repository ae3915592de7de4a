"""The sizes of a batch of episodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

TASKS = (2, 50)
"""Smallest and largest number of classes of an episode."""

SHOTS = (1, 10)
"""Smallest and largest average number of examples of a class, except in long streams."""

LONG = (100, 1500)
"""Approximate smallest and largest number of examples of a long stream."""

LONG_SHARE = 0.08
"""Share of batches with long streams; learners trained on short streams only fail on long ones."""

QUERIES = 40
"""Approximate number of queries of an episode."""

Lengths = Literal["mixed", "long"]
"""Lengths of streams: mixed, or long only."""


@dataclass(frozen=True)
class Sizes:
    """The sizes of the episodes of a batch; all are the same, as a batch is one tensor.

    Attributes:
        tasks: Number of classes.
        shots: Average number of examples of a class.
        queries: Number of queries of a class.
    """

    tasks: int
    shots: int
    queries: int

    @staticmethod
    def drawn(generator: np.random.Generator, lengths: Lengths = "mixed") -> Sizes:
        """Draws random sizes. The numbers of classes, and of examples of long streams, are log-uniform.

        Args:
            generator: Source of random numbers.
            lengths: Whether all streams are long, or a share of them.

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
