"""Streams drawn from data sets, and the results of a learner on one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from mambacl.settings import Settings
from mambacl.streams.comparison.contestants import Contestant
from mambacl.streams.comparison.unseen import UNSEEN

StreamOrder = Literal["shuffled", "sorted"]
"""Order of examples: random, or class after class (with the classes in random order)."""

_POINTS = 10


@dataclass(frozen=True, eq=False)
class Task:
    """A stream and its queries.

    Attributes:
        x: Features of the stream, (n, features).
        y: Labels of the stream, (n,).
        queries: Features of the queries, (q, features); of all classes, also those not read yet.
        answers: Labels of the queries, (q,).
    """

    x: NDArray[np.float64]
    y: NDArray[np.int64]
    queries: NDArray[np.float64]
    answers: NDArray[np.int64]

    @staticmethod
    def of(data: str, order: StreamOrder, seed: int) -> Task:
        """A stream of 70 % of a data set, with queries from the rest; both orders have the same examples.

        Args:
            data: Name in `mambacl.streams.comparison.unseen.UNSEEN`.
            order: Order of the stream.
            seed: Seed of the split, the order, and the choice of classes.
        """
        x, y = UNSEEN[data](seed)
        parts: list[Any] = train_test_split(x, y, test_size=0.3, random_state=seed, stratify=y)
        x, queries, y, answers = parts
        if order == "sorted":
            places = np.random.default_rng(seed).permutation(int(y.max()) + 1)
            by_class = np.argsort(places[y], kind="stable")
            x, y = x[by_class], y[by_class]
        return Task(x, y, queries, answers)

    @property
    def points(self) -> list[int]:
        """Numbers of examples after which queries are asked: log-spaced from 10 to all."""
        return sorted({round(point) for point in np.geomspace(10, len(self.x), _POINTS)})


@dataclass(frozen=True)
class Life(Settings):
    """The results of a learner on a stream.

    Attributes:
        accuracy: Pairs of the number of examples read and the accuracy on all queries.
        learn_us: Median time of reading one example, in microseconds.
        nbytes: Bytes kept at the end.
    """

    accuracy: tuple[tuple[int, float], ...]
    learn_us: float
    nbytes: int

    @property
    def final(self) -> float:
        """Accuracy after all examples."""
        return self.accuracy[-1][1]

    @staticmethod
    def lived(contestant: Contestant, task: Task) -> Life:
        """Reads a stream one example at a time, and measures accuracy at its `points`."""
        accuracy: list[tuple[int, float]] = []
        times: list[float] = []
        points = task.points
        for read, (x, y) in enumerate(zip(task.x, task.y.tolist(), strict=True), start=1):
            began = time.perf_counter()
            contestant.learn(x, y)
            times.append(time.perf_counter() - began)
            if read in points:
                right = contestant.answer(task.queries) == task.answers
                accuracy.append((read, round(float(right.mean()), 4)))
        return Life(tuple(accuracy), round(1e6 * float(np.median(times)), 1), contestant.nbytes)
