"""What holds for every kind of learner and every mixer there is, the newest included."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import replace
from typing import get_args

import pytest
import torch

from gaussian_episodes import GaussianEpisodes
from mambacl import ClassTarget, Learner, LearnerConfig, SequenceConfig, VectorEncoder
from mambacl.config import LEARNERS, Mixer
from mambacl.layer_states import layer_state

BASE = {"encoder": VectorEncoder(dim=4), "target": ClassTarget(vocab=6), "d_model": 64}
MIXERS = [mixer() for mixer in get_args(get_args(Mixer)[0])]
CONFIGS: dict[str, LearnerConfig] = {
    **{kind: config(**BASE) for kind, config in LEARNERS.items() if kind != "sequence"},
    **{mixer.kind: SequenceConfig(**BASE, mixer=mixer) for mixer in MIXERS},
}

every_learner = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def predictions(learner: Learner) -> torch.Tensor:
    episode = GaussianEpisodes(seed=5).batch(0, 3)
    learner.eval()
    with torch.no_grad():
        state = learner.init_state(codebook=episode.codebook)
        state = learner.observe(state, episode.train_x, episode.train_y)
        return learner.predict(state, episode.test_x)


@every_learner
def test_settings_survive_a_table(config: LearnerConfig):
    assert LearnerConfig.from_table(json.loads(config.to_json())) == config


@every_learner
def test_copies_answer_alike(config: LearnerConfig):
    learner = Learner(config, seed=1)
    expected = predictions(learner)
    for other in (pickle.loads(pickle.dumps(learner)), copy.deepcopy(learner)):
        torch.testing.assert_close(predictions(other), expected, rtol=0, atol=0)
    other = Learner(config, seed=2)
    assert not torch.equal(predictions(other), expected)
    other.load_state_dict(learner.state_dict())
    torch.testing.assert_close(predictions(other), expected, rtol=0, atol=0)


@every_learner
def test_a_state_is_of_its_documented_class(config: LearnerConfig):
    learner = Learner(config).eval()
    state = learner.init_state(2)
    assert {type(layer) for layer in state.layers} == {layer_state(config)}
    episode = GaussianEpisodes(seed=0).batch(0, 3)
    state = learner.observe(learner.init_state(codebook=episode.codebook), episode.train_x, episode.train_y)
    fields = [len(layer) for layer in learner.init_state().layers]
    assert [len(layer) for layer in state.layers] == fields
    for tensor in state.tensors():
        assert tensor.shape[0] == episode.batch_size


@every_learner
def test_every_parameter_learns(config: LearnerConfig):
    learner = Learner(config)
    optimiser = torch.optim.Adam(learner.parameters(), lr=2e-3)
    losses: list[float] = []
    for step in range(12):
        output = learner(GaussianEpisodes(seed=0).batch(0, 3), step)
        optimiser.zero_grad()
        output.loss.backward()
        optimiser.step()
        losses.append(output.loss.item())
    for name, parameter in learner.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name
    assert min(losses[-3:]) < losses[0]


@every_learner
def test_training_under_autocast_keeps_states_in_float32(config: LearnerConfig):
    learner = Learner(config)
    episode = GaussianEpisodes(seed=0).batch(0, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = learner(episode, 0)
        state, _ = learner.observe_traced(
            learner.init_state(codebook=episode.codebook), episode.train_x, episode.train_y
        )
    output.loss.backward()
    assert all(
        torch.isfinite(parameter.grad).all()
        for parameter in learner.parameters()
        if parameter.grad is not None
    )
    assert {tensor.dtype for layer in state.layers for tensor in layer} == {torch.float32}


@pytest.mark.parametrize("mixer", MIXERS, ids=lambda mixer: mixer.kind)
@pytest.mark.parametrize("layers", ["last", "all"])
def test_associations_are_distributions(mixer: Mixer, layers: str):
    config = SequenceConfig(**BASE, mixer=mixer)
    assert config.selectivity is not None
    config = replace(config, selectivity=replace(config.selectivity, layers=layers))
    learner = Learner(config)
    episode = GaussianEpisodes(seed=0).batch(0, 3)
    initial = learner.init_state(codebook=episode.codebook)
    state, trace = learner.observe_traced(initial, episode.train_x, episode.train_y)
    found = [rows for rows in learner.associate(state, episode.test_x, trace) if rows is not None]
    assert len(found) == (1 if layers == "last" else config.n_layer)
    for rows in found:
        assert rows.shape[0::2] == (episode.batch_size, episode.test_x.shape[1])
        assert rows.shape[3] == 2 * episode.train_x.shape[1]
        torch.testing.assert_close(rows.sum(-1), torch.ones(rows.shape[:-1]))
