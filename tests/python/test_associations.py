"""Associations of queries with tokens, of learners that were guided or not."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mambacl import Learner, PrototypeConfig, Selectivity, VectorEncoder
from mambacl.config import AttentionMixer
from mambacl.errors import ConfigError, InvalidValueError
from mambacl.evaluation import associations, own_class
from mambacl.evaluation.protocol import first_state
from small_learners import DIM, assert_same, small_config, small_episode, small_learner, tensors

ALL = Selectivity(layers="all")


def directly(learner: Learner) -> list[torch.Tensor]:
    """By the engine, of a learner whose settings look at all layers."""
    episode = small_episode()
    with torch.no_grad():
        state, trace = learner.observe_traced(first_state(learner, episode), episode.train_x, episode.train_y)
        found = learner.associate(state, episode.test_x, trace)
    layers = [layer for layer in found if layer is not None]
    assert len(layers) == len(found) == 2
    return layers


@pytest.mark.parametrize("selectivity", [None, Selectivity(weight=0.0), Selectivity(layers="last"), ALL])
def test_what_the_regulariser_looked_at_makes_no_difference(selectivity: Selectivity | None):
    expected = directly(small_learner(selectivity=ALL))
    found = associations(small_learner(selectivity=selectivity), small_episode())
    for layer, same in zip(found, expected, strict=True):
        assert layer.shape == (2, 1, 6, 16)
        torch.testing.assert_close(layer.sum(-1), torch.ones(2, 1, 6))
        assert torch.equal(layer, same)


def test_the_variant_asked_for_is_told():
    gated = dataclasses.replace(ALL, association="gated")
    expected = directly(small_learner(selectivity=gated))
    found = associations(small_learner(), small_episode(), "gated")
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    assert not torch.equal(found[0], associations(small_learner(), small_episode())[0])


def test_the_learner_is_left_as_it_was():
    learner = small_learner().train()
    before = tensors(learner)
    associations(learner, small_episode())
    assert_same(before, tensors(learner))
    assert learner.training
    assert learner.config == small_config()


def test_double_precision_stays():
    learner = small_learner().double()
    episode = small_episode()
    double = dataclasses.replace(episode, train_x=episode.train_x.double(), test_x=episode.test_x.double())
    found = associations(learner, double)
    assert found[0].dtype == torch.float64
    torch.testing.assert_close(found[0].float(), associations(small_learner(), episode)[0])


def test_what_cannot_tell_of_it_is_refused():
    prototype = Learner(PrototypeConfig(VectorEncoder(DIM)))
    with pytest.raises(InvalidValueError, match="must be a sequence learner, got one of PrototypeConfig"):
        associations(prototype, small_episode())
    attention = small_learner(mixer=AttentionMixer(n_head=2))
    with pytest.raises(ConfigError, match=r"association.*must be \"content\" with this mixer"):
        associations(attention, small_episode(), "gated")


def test_own_class_is_where_labels_agree():
    episode = small_episode()
    own = own_class(episode)
    assert own.shape == (2, 6, 16)
    for batch in range(2):
        for query in range(6):
            for token in range(16):
                same = bool(episode.test_y[batch, query] == episode.train_y[batch, token // 2])
                assert bool(own[batch, query, token]) == same
