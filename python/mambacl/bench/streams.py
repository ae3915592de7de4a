"""A learner in use: one example at a time, and an episode of meta-training."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import torch

from mambacl.bench.memory import process_bytes
from mambacl.bench.timing import Times, interleaved
from mambacl.config import SequenceConfig, VectorEncoder
from mambacl.episodes import Episode
from mambacl.errors import InvalidValueError
from mambacl.learner import Learner
from mambacl.state import LearnerState

DIM = 128
"""Numbers in an input."""

WINDOW = 200
"""Examples whose median time stands for that of one."""

SHORTEST = 10 * WINDOW
"""Examples of the shortest stream to measure."""

WARM_UP = 10_000
"""Examples, or a tenth of a shorter stream, before growth is measured."""

MARKS = (100_000, 1_000_000)
"""Examples whose time is told, besides the last one's."""


@dataclass(frozen=True)
class Stream:
    """One example after another.

    Attributes:
        examples: How many were observed one by one.
        early: Seconds of an example about the 10th; the median of a window, after a warm-up.
        late: Numbers of examples, those of `MARKS` and the last, and the seconds of one there.
        predict: Seconds of one query at the end.
        state_bytes: Before and after.
        growth: Of the process's memory from the end of the warm-up to that of the stream, bytes.
    """

    examples: int
    early: float
    late: tuple[tuple[int, float], ...]
    predict: float
    state_bytes: tuple[int, int]
    growth: int


def stream(examples: int) -> Stream:
    """Observes examples one by one; the learner has the default sizes, on vectors of `DIM` numbers.

    Args:
        examples: How many, at least `SHORTEST`; whole windows of them are observed.

    Returns:
        Times and memory.

    Raises:
        InvalidValueError: If there are fewer.
    """
    check_examples(examples)
    torch.manual_seed(0)
    learner = Learner(SequenceConfig(VectorEncoder(DIM))).eval()
    x, y = torch.randn(1, WINDOW, DIM), torch.randint(0, 64, (1, WINDOW))
    pairs = list(zip(x.split(1, dim=1), y.split(1, dim=1), strict=True))

    def window(state: LearnerState) -> tuple[LearnerState, float]:
        seconds: list[float] = []
        for one_x, one_y in pairs:
            began = time.perf_counter()
            state = learner.observe(state, one_x, one_y)
            seconds.append(time.perf_counter() - began)
        return state, statistics.median(seconds)

    with torch.no_grad():
        window(learner.init_state())  # warm-up
        first = learner.init_state()
        state, early = window(first)
        resident = 0
        late: list[tuple[int, float]] = []
        windows = examples // WINDOW
        warm = max(2, min(windows // 10, WARM_UP // WINDOW))
        for number in range(2, windows + 1):
            state, latest = window(state)
            if number == warm:
                resident = process_bytes("VmRSS")
            if number == windows or number * WINDOW in MARKS:
                late.append((number * WINDOW, latest))
        seconds: list[float] = []
        for one_x, _ in pairs:
            began = time.perf_counter()
            learner.predict(state, one_x)
            seconds.append(time.perf_counter() - began)
    return Stream(
        examples=state.examples,
        early=early,
        late=tuple(late),
        predict=statistics.median(seconds),
        state_bytes=(first.nbytes, state.nbytes),
        growth=process_bytes("VmRSS") - resident,
    )


def check_examples(examples: int) -> None:
    """Checks the length of a stream.

    Raises:
        InvalidValueError: If it is too short to measure.
    """
    if examples < SHORTEST:
        raise InvalidValueError(f"bench: argument `examples` must be at least {SHORTEST}, got {examples}")


def episode_step(repeats: int, tasks: int = 20, shots: int = 5) -> Times:
    """A training step of one episode whose queries continue one state ("shared"), and of the same episode
    with each query on a copy of the stream of its own ("replicated"), as models without states do it."""
    torch.manual_seed(0)
    learner = Learner(SequenceConfig(VectorEncoder(DIM), selectivity=None))
    queries = tasks * shots
    labels = torch.arange(tasks).repeat_interleave(shots).view(1, -1)
    train_x, test_x = torch.randn(1, queries, DIM), torch.randn(1, queries, DIM)
    codebook = torch.randperm(64).view(1, -1)
    shared = Episode(train_x, labels, test_x, labels, codebook)
    replicated = Episode(
        train_x.expand(queries, -1, -1),
        labels.expand(queries, -1),
        test_x.view(queries, 1, DIM),
        labels.view(queries, 1),
        codebook.expand(queries, -1),
    )

    def run(episode: Episode) -> None:
        learner.zero_grad()
        learner(episode).loss.backward()

    return interleaved({"shared": lambda: run(shared), "replicated": lambda: run(replicated)}, repeats)
