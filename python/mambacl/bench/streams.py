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


@dataclass(frozen=True)
class Stream:
    """One example after another.

    Attributes:
        examples: How many were observed one by one.
        early: Seconds of an example about the 10th; the median of a window, after a warm-up.
        late: Seconds of the last ones.
        predict: Seconds of one query at the end.
        state_bytes: Before and after.
        growth: Of the process's memory from the first tenth of the stream to its end, bytes.
    """

    examples: int
    early: float
    late: float
    predict: float
    state_bytes: tuple[int, int]
    growth: int


def stream(examples: int) -> Stream:
    """Observes examples one by one; the learner has the default sizes, on vectors of `DIM` numbers.

    Args:
        examples: How many, at least 10 windows.

    Returns:
        Times and memory.

    Raises:
        InvalidValueError: If there are fewer.
    """
    if examples < 10 * WINDOW:
        raise InvalidValueError(f"bench: argument `examples` must be at least {10 * WINDOW}, got {examples}")
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
        resident, late = 0, early
        for number in range(1, examples // WINDOW):
            state, late = window(state)
            if number == examples // WINDOW // 10:
                resident = process_bytes("VmRSS")
        seconds: list[float] = []
        for one_x, _ in pairs:
            began = time.perf_counter()
            learner.predict(state, one_x)
            seconds.append(time.perf_counter() - began)
    return Stream(
        examples=state.examples,
        early=early,
        late=late,
        predict=statistics.median(seconds),
        state_bytes=(first.nbytes, state.nbytes),
        growth=process_bytes("VmRSS") - resident,
    )


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
