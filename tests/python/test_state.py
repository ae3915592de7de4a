"""The state: answers among the labels observed, and what it refuses."""

from __future__ import annotations

import dataclasses
import math
import re

import pytest
import torch

from mambacl import LearnerState, VectorTarget
from mambacl.errors import DeviceError, InvalidValueError, ShapeError
from small_learners import DIM, VOCAB, small_learner


def test_answers_and_probabilities_are_among_the_labels_seen():
    seen = torch.tensor([[True, False, True, False], [False, True, True, True]])
    state = LearnerState(3, torch.arange(4).repeat(2, 1), seen, ())
    logits = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    answers, log_probabilities = state.answers(logits), state.log_probabilities(logits)
    assert answers.dtype == torch.int64
    for stream in range(2):
        labels = seen[stream].nonzero().flatten().tolist()
        for query in range(5):
            weights = [math.exp(logits[stream, query, label].item()) for label in labels]
            want = [weight / sum(weights) for weight in weights]
            assert log_probabilities[stream, query, labels].exp().tolist() == pytest.approx(want)
            assert answers[stream, query].item() == labels[want.index(max(want))]
    assert (log_probabilities == -torch.inf).equal(~seen.unsqueeze(1).expand(-1, 5, -1))


def test_answers_of_logits_that_do_not_fit():
    learner = small_learner().eval()
    fresh = learner.init_state(2)
    state = learner.observe(fresh, torch.randn(2, 1, DIM), torch.zeros(2, 1, dtype=torch.int64))
    for ask, name in (
        (LearnerState.answers, "answers"),
        (LearnerState.log_probabilities, "log_probabilities"),
    ):
        for shape in ((2, VOCAB), (2, 3, VOCAB + 1), (1, 3, VOCAB)):
            message = re.escape(f"{name}: argument `logits` must have shape (2, Q, {VOCAB}), got {shape}")
            with pytest.raises(ShapeError, match=message):
                ask(state, torch.zeros(shape))
        with pytest.raises(DeviceError, match=f"{name}: argument `logits` must be on cpu"):
            ask(state, torch.zeros(2, 3, VOCAB, device="meta"))
        with pytest.raises(InvalidValueError, match=f"{name}: the state must have observed an example"):
            ask(fresh, torch.zeros(2, 3, VOCAB))
        vectors = small_learner(target=VectorTarget(3)).init_state(2)
        with pytest.raises(InvalidValueError, match=f"{name}: the state must be of classes"):
            ask(vectors, torch.zeros(2, 3, 3))


def test_a_state_is_shown_without_its_tensors():
    learner = small_learner().eval()
    state = learner.init_state(2)
    assert repr(state) == f"LearnerState(batch_size=2, examples=0, nbytes={state.nbytes}, layers=2 x mamba)"
    one = learner.observe(state.select([0]), torch.randn(1, 3, DIM), torch.zeros(1, 3, dtype=torch.int64))
    assert "(batch_size=2, examples=0 to 3, " in repr(state.scatter([0], one))
    assert repr(LearnerState(0, torch.arange(4)[None], None, ())).endswith("nbytes=32, layers=none)")


def test_a_state_without_tensors_is_refused():
    with pytest.raises(InvalidValueError, match="must hold at least one tensor"):
        LearnerState(0, None, None, ())


def test_a_state_of_fewer_than_no_examples_is_refused():
    state = small_learner().init_state()
    with pytest.raises(InvalidValueError, match="`examples` must be at least 0, got -1"):
        dataclasses.replace(state, examples=-1)
