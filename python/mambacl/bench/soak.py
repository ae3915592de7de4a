"""The classifier in use for long: one example at a time, and by many threads at once."""

from __future__ import annotations

import statistics
import time
from array import array
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier

import numpy as np
import torch
from numpy.typing import NDArray

from mambacl.bench.memory import process_bytes
from mambacl.config import SequenceConfig, VectorEncoder
from mambacl.errors import InvalidValueError
from mambacl.learner import Learner
from mambacl.streams import ContinualClassifier

DIM = 64
"""Numbers that the learner takes."""

FEATURES = 30
"""Numbers of an input that is adapted."""

CLASSES = 50

WINDOW = 1_000
"""Examples whose median time stands for that of one; so many come before the clock starts, too."""

WARM_UP = 10_000
"""Examples, or a tenth of a shorter soak, before growth is measured."""

SHORTEST = 20 * WINDOW
"""Examples of the shortest soak."""

FEW = 8
"""Queries whose probabilities are looked at after each window; a batch would take memory for a while."""

THREADS = 100


@dataclass(frozen=True)
class Soak:
    """One stream, example after example, with a query after each.

    Attributes:
        examples: Observed one by one.
        first: Median seconds of `partial_fit` over the first window, and of `predict`.
        slowest: The same of the slowest tenth of the stream.
        growth: The most that the process's memory was ever above that at the end of the warm-up, bytes.
        state_bytes: Kept of the stream, early and at the end.
        not_finite: Probabilities that were not finite, of those asked for after each window.
    """

    examples: int
    first: tuple[float, float]
    slowest: tuple[float, float]
    growth: int
    state_bytes: tuple[int, int]
    not_finite: int


def soak(examples: int, *, adapt: bool) -> Soak:
    """Reads examples one by one and asks after each: a Mamba of the default sizes on random numbers.

    Args:
        examples: How many, at least `SHORTEST`; whole windows of them are read.
        adapt: Whether features are of another number than the learner takes.

    Returns:
        Times and memory.

    Raises:
        InvalidValueError: If there are fewer; or if an answer is not finite, which `predict` refuses to give.
    """
    if examples < SHORTEST:
        raise InvalidValueError(
            f"bench: argument `examples` must be at least {SHORTEST} for `--soak`, got {examples}"
        )
    classifier = ContinualClassifier(_learner())
    x, y = _examples(FEATURES if adapt else DIM, WINDOW, seed=0)
    windows = examples // WINDOW
    warm = max(1, min(windows // 10, WARM_UP // WINDOW))
    # Room for what is measured, so that it is none of the growth.
    read, asked = (array("d", [0.0]) * WINDOW for _ in range(2))
    medians = tuple(array("d", [0.0]) * windows for _ in range(2))
    early = resident = growth = not_finite = 0
    for window in range(-1, windows):  # the first is for code and caches to become warm
        if window == 0:
            classifier.reset()
        for i in range(WINDOW):
            began = time.perf_counter()
            classifier.partial_fit(x[i], y[i])
            between = time.perf_counter()
            classifier.predict(x[i])
            read[i], asked[i] = between - began, time.perf_counter() - between
        not_finite += int((~np.isfinite(classifier.predict_proba(x[:FEW, 0]))).sum())
        if window == 0:
            early = classifier.state_nbytes_
        if window >= 0:
            for of_windows, seconds in zip(medians, (read, asked), strict=True):
                of_windows[window] = statistics.median(seconds)
        if window == warm - 1:
            resident = process_bytes("VmRSS")
        elif window >= warm:
            growth = max(growth, process_bytes("VmRSS") - resident)
    return Soak(
        examples=classifier.n_samples_seen_,
        first=(medians[0][0], medians[1][0]),
        slowest=(_slowest_tenth(medians[0]), _slowest_tenth(medians[1])),
        growth=growth,
        state_bytes=(early, classifier.state_nbytes_),
        not_finite=not_finite,
    )


def differing_threads(threads: int = THREADS, examples: int = 50) -> int:
    """Many threads share a learner, each with a stream of its own, one example at a time, all at once.

    Args:
        threads: How many.
        examples: In each stream.

    Returns:
        The threads whose probabilities are not, bit for bit, those of the same streams in one thread.
    """
    learner = _learner()

    def probabilities(seed: int) -> NDArray[np.float64]:
        classifier = ContinualClassifier(learner, random_state=seed)
        x, y = _examples(FEATURES if seed % 2 else DIM, examples, seed)
        for one_x, one_y in zip(x, y, strict=True):
            classifier.partial_fit(one_x, one_y)
        return np.concatenate([classifier.predict_proba(one_x) for one_x in x])

    alone = [probabilities(seed) for seed in range(threads)]
    together = Barrier(threads)

    def beside_others(seed: int) -> NDArray[np.float64]:
        together.wait()
        return probabilities(seed)

    with ThreadPoolExecutor(threads) as pool:
        beside = pool.map(beside_others, range(threads))
        return sum(not np.array_equal(*pair) for pair in zip(alone, beside, strict=True))


def _learner() -> Learner:
    return Learner(SequenceConfig(VectorEncoder(DIM))).requires_grad_(False).eval()


def _examples(features: int, examples: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """Inputs, (examples, 1, features), and labels, (examples, 1)."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(examples, 1, features, generator=generator, dtype=torch.float64).numpy()
    numbers = torch.arange(examples) % CLASSES
    return x, np.array([[f"class {number}"] for number in numbers.tolist()])


def _slowest_tenth(seconds: array[float]) -> float:
    """The largest median of ten parts."""
    part = len(seconds) // 10
    return max(statistics.median(seconds[at : at + part]) for at in range(0, 10 * part, part))
