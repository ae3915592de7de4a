"""What a learner in use allocates for one example: per layer, its results and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from small_learners import DIM, small_learner


def allocations(run: Callable[[], object]) -> list[int]:
    """The bytes of each tensor's memory that libtorch's allocator gives while `run` runs."""
    run()  # what is kept between calls is there
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiler:
        run()
    events = profiler.profiler.kineto_results.events()  # pyright: ignore
    return [event.nbytes() for event in events if event.name() == "[memory]" and event.nbytes() > 0]


def test_the_count_counts():
    assert len(allocations(lambda: (torch.empty(1000), torch.empty(10)))) == 2


@pytest.mark.parametrize(("verb", "results"), [("observe", 3), ("predict", 1)])
def test_a_layer_more_allocates_its_results_and_nothing_else(verb: str, results: int):
    """An output and, when it observes, a window and an SSM's state."""
    x, y = torch.randn(1, 1, DIM), torch.tensor([[2]])

    def count(n_layer: int) -> int:
        learner = small_learner(n_layer=n_layer).eval()
        with torch.no_grad():
            state = learner.observe(learner.init_state(), x, y)
            if verb == "observe":
                return len(allocations(lambda: learner.observe(state, x, y)))
            return len(allocations(lambda: learner.predict(state, x)))

    assert count(3) - count(1) == 2 * results
