"""States of many streams: chosen, put back and joined by index."""

from __future__ import annotations

import dataclasses
import re
import threading
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mambacl import (
    AttentionMixer,
    Learner,
    LearnerState,
    LinearAttentionMixer,
    PerformerMixer,
    VectorTarget,
)
from mambacl.config import Mixer
from mambacl.errors import DeviceError, DtypeError, InvalidValueError, ShapeError
from small_learners import DIM, small_learner

LEARNER = small_learner().eval()
GROWING = small_learner(mixer=AttentionMixer()).eval()
LABELS = 4


def observed(learner: Learner, state: LearnerState, examples: int, seed: int = 0) -> LearnerState:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(state.batch_size, examples, DIM, generator=generator)
    return learner.observe(state, x, torch.randint(LABELS, x.shape[:2], generator=generator))


def marked(streams: int) -> LearnerState:
    """Streams that are told apart by their codebooks, and have observed 0, 1, 2, … examples."""
    state = LEARNER.init_state(streams)
    assert state.codebook is not None
    books = torch.arange(streams).unsqueeze(1).expand_as(state.codebook)
    counts = torch.arange(streams) if streams > 1 else None
    return dataclasses.replace(state, codebook=books, counts=counts)


def marks(state: LearnerState) -> list[int]:
    assert state.codebook is not None
    return state.codebook[:, 0].tolist()


@given(st.integers(1, 9), st.data())
def test_select_and_scatter_are_those_of_lists(streams: int, data: st.DataObject):
    state = marked(streams)
    chosen = data.draw(st.lists(st.integers(0, streams - 1), min_size=1, max_size=12))
    part = state.select(chosen)
    assert marks(part) == part.examples_of_each().tolist() == chosen
    assert part.examples == min(chosen)
    assert (part.counts is None) == (len(set(chosen)) == 1)
    places = data.draw(st.permutations(range(streams)))[: len(chosen)]
    merged = state.scatter(places, part.select(range(len(places))))
    want = list(range(streams))
    for place, source in zip(places, chosen, strict=False):
        want[place] = source
    assert marks(merged) == merged.examples_of_each().tolist() == want
    assert marks(state) == list(range(streams))


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_cat_undoes_cuts(sizes: list[int]):
    state = marked(sum(sizes))
    cuts = torch.arange(sum(sizes)).split(sizes)
    joined = LearnerState.cat([state.select(cut) for cut in cuts])
    assert marks(joined) == joined.examples_of_each().tolist() == list(range(sum(sizes)))


def test_a_thousand_streams_each_at_its_own_pace():
    users = LEARNER.init_state(1000)
    generator = torch.Generator().manual_seed(0)
    expected = torch.zeros(1000, dtype=torch.int64)
    for turn in range(5):
        some = torch.randperm(1000, generator=generator)[:100]
        users = users.scatter(some, observed(LEARNER, users.select(some), turn + 1), in_place=True)
        expected[some] += turn + 1
    assert users.batch_size == 1000
    assert torch.equal(users.examples_of_each(), expected)
    busy = expected.nonzero().flatten()
    asked = users.select(busy)
    logits = LEARNER.predict(asked, torch.randn(len(busy), 2, DIM, generator=generator))
    assert asked.answers(logits).max() < LABELS
    with pytest.raises(InvalidValueError, match="must be a state that has observed examples"):
        LEARNER.predict(users, torch.randn(1000, 1, DIM))  # of some streams there is nothing to ask


def test_counts_go_on_with_what_is_observed():
    state = dataclasses.replace(LEARNER.init_state(3), counts=torch.arange(3))
    state = observed(LEARNER, state, 4)
    assert state.examples == 4
    assert state.examples_of_each().tolist() == [4, 5, 6]
    for same in (state.clone(), state.detach(), state.to("cpu")):
        assert same.examples_of_each().tolist() == [4, 5, 6]
    state, _ = LEARNER.observe_traced(state, torch.zeros(3, 1, DIM), torch.zeros(3, 1, dtype=torch.int64))
    assert state.examples_of_each().tolist() == [5, 6, 7]


def test_counts_that_are_not_of_the_state():
    with pytest.raises(InvalidValueError, match="`examples` must be the least of `counts`, 1, got 0"):
        dataclasses.replace(LEARNER.init_state(2), counts=torch.tensor([1, 2]))
    with pytest.raises(ShapeError, match=r"`counts` must have shape \(2,\), got \(3,\)"):
        dataclasses.replace(LEARNER.init_state(2), counts=torch.tensor([0, 1, 2]))


@pytest.mark.parametrize(
    ("indices", "error", "message"),
    [
        ([], ShapeError, "must have shape (n >= 1,), got (0,)"),
        ([[0]], ShapeError, "must have shape (n >= 1,), got (1, 1)"),
        (0, ShapeError, "must have shape (n >= 1,), got ()"),
        ([0.0], DtypeError, "must be integers, got torch.float32"),
        ([True, False, True], DtypeError, "must be integers, got torch.bool"),
        ([0, 3], InvalidValueError, "must be in [0, 3), the streams, got 0 to 3"),
        ([-1, 1], InvalidValueError, "must be in [0, 3), the streams, got -1 to 1"),
        (["a"], TypeError, "must be integers, got list"),
        (None, TypeError, "must be integers, got NoneType"),
    ],
)
def test_indices_that_do_not_fit(indices: Any, error: type[Exception], message: str):
    state = LEARNER.init_state(3)
    with pytest.raises(error, match=re.escape(f"select: argument `indices` {message}")):
        state.select(indices)
    with pytest.raises(error, match=re.escape(f"scatter: argument `indices` {message}")):
        state.scatter(indices, state)


def test_scatter_refuses_what_is_ambiguous_or_does_not_fit():
    state = LEARNER.init_state(3)
    with pytest.raises(InvalidValueError, match="must name no stream twice, got 1 again"):
        state.scatter([0, 1, 1], state)
    with pytest.raises(ShapeError, match="`other` must be of 2 streams, as `indices`, got 3"):
        state.scatter([0, 1], state)


@pytest.mark.parametrize(
    ("other", "error", "message"),
    [
        (small_learner(d_model=16).init_state(), ShapeError, "must hold tensors of shape (batch, *(16, 2))"),
        (
            small_learner(n_layer=1).init_state(),
            ShapeError,
            "must be of the same learner, got layers ['",
        ),
        (GROWING.init_state(), ShapeError, "must be of the same learner, got layers ['attention'"),
        (small_learner(target=VectorTarget(3)).init_state(), ShapeError, "must be of the same learner"),
        (small_learner().double().init_state(), DtypeError, "must hold torch.float32, got torch.float64"),
        (LEARNER.init_state().to("meta"), DeviceError, "must be on cpu, got meta"),
    ],
)
def test_states_of_different_learners_are_not_joined(
    other: LearnerState, error: type[Exception], message: str
):
    state = LEARNER.init_state(2)
    with pytest.raises(error, match=re.escape(f"scatter: argument `other` {message}")):
        state.scatter([0], other)
    with pytest.raises(error, match=re.escape(f"cat: argument `states[2]` {message}")):
        LearnerState.cat([state, state, other])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s: LearnerState.cat([s, 3]), TypeError, "cat: argument `states[1]` must be a LearnerState"),
        (lambda s: LearnerState.cat(s), TypeError, "cat: argument `states` must be a list of states"),
        (lambda s: s.scatter([0], None), TypeError, "scatter: argument `other` must be a LearnerState"),
        (
            lambda s: s.scatter([0], s.select([0]), in_place="yes"),
            InvalidValueError,
            "scatter: argument `in_place` must be True or False, got 'yes'",
        ),
        (lambda s: s.answers([1.0]), TypeError, "answers: argument `logits` must be a torch.Tensor"),
        (lambda s: s.answers(torch.zeros(2, 1, 8).long()), DtypeError, "`logits` must be floating point"),
        (
            lambda s: s.select(torch.tensor([2**64 - 1], dtype=torch.uint64)),
            InvalidValueError,
            "must be in [0, 2)",
        ),
    ],
)
def test_arguments_of_other_types(call: Any, error: type[Exception], message: str):
    with pytest.raises(error, match=re.escape(message)):
        call(observed(LEARNER, LEARNER.init_state(2), 2))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8])
def test_indices_of_all_integers(dtype: torch.dtype):
    assert marks(marked(3).select(torch.tensor([2, 0]).to(dtype))) == [2, 0]


def test_no_states_are_not_joined():
    with pytest.raises(InvalidValueError, match="`states` must hold at least one state, got none"):
        LearnerState.cat([])


@pytest.mark.parametrize("mixer", [AttentionMixer(), LinearAttentionMixer(), PerformerMixer()])
def test_states_whose_tokens_have_positions_are_joined_at_one_length_only(mixer: Mixer):
    learner = small_learner(mixer=mixer).eval()
    short, long = (observed(learner, learner.init_state(2), examples) for examples in (3, 5))
    message = "must have observed 3 examples, as tokens of this learner have positions, got 5"
    with pytest.raises(InvalidValueError, match=re.escape(f"scatter: argument `other` {message}")):
        short.scatter([0], long.select([1]))
    with pytest.raises(InvalidValueError, match=re.escape(f"cat: argument `states[1]` {message}")):
        LearnerState.cat([short, long])
    with pytest.raises(InvalidValueError, match="`counts` must be None, as tokens of this"):
        dataclasses.replace(short, counts=torch.tensor([3, 4]))
    assert LearnerState.cat([short, short]).batch_size == 4


def test_gradients_pass_through():
    state = observed(LEARNER, LEARNER.init_state(2), 3)
    joined = LearnerState.cat([state.scatter([0], state.select([1])), state])
    joined.layers[-1][-1].sum().backward()
    assert any(parameter.grad is not None for parameter in LEARNER.parameters())
    LEARNER.zero_grad()


@pytest.mark.parametrize("learner", [LEARNER, GROWING])
def test_a_hundred_threads_share_a_learner(learner: Learner):
    """Each with a stream of its own; the answers are those of one thread, bit for bit."""

    def life(seed: int) -> torch.Tensor:
        with torch.no_grad():
            state = learner.init_state(seed=seed)
            for part in range(3):
                state = observed(learner, state, 4, seed=3 * seed + part)
            return learner.predict(state, torch.ones(1, 2, DIM))

    want = [life(seed) for seed in range(100)]
    got: dict[int, torch.Tensor] = {}
    together = threading.Barrier(100)

    def work(seed: int) -> None:
        together.wait()
        got[seed] = life(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 100
    assert all(torch.equal(got[seed], want[seed]) for seed in range(100))
