"""Learners with the mixers of one chunked recurrence: trained, saved, pickled and read again."""

from __future__ import annotations

import io
import json
import pickle

import pytest
import torch

from mambacl import (
    AttentionMixer,
    GatedDeltaNetMixer,
    Learner,
    LearnerConfig,
    LearnerState,
    LinearAttentionMixer,
    Mamba2Mixer,
    Mamba3Mixer,
    PerformerMixer,
    Selectivity,
    SequenceConfig,
)
from mambacl.config import Mixer
from mambacl.errors import ConfigError
from small_learners import assert_same, small_config, small_episode, small_learner, tensors

MIXERS: list[tuple[Mixer, str, int]] = [
    # Numbers in a layer's state.
    (LinearAttentionMixer(n_head=2), "linear_attention", 2 * 4 * (4 + 1)),
    (GatedDeltaNetMixer(n_head=2), "gated_delta_net", 2 * (4 * 8 + 3 * (2 * 4 + 8))),
    (Mamba3Mixer(d_state=8, headdim=8), "mamba3", 2 * (2 + 8 * 8 + 8 + 8)),
    (PerformerMixer(n_head=2, d_feature=16), "performer", 2 * 16 * (4 + 1) + 2 + 16 * 4),
    (Mamba2Mixer(d_state=4, headdim=8), "mamba2", 16 * 4 + (16 + 2 * 4) * 3),
]

each_mixer = pytest.mark.parametrize(
    ("mixer", "kind", "numbers"), MIXERS, ids=[mixer.kind for mixer, _, _ in MIXERS]
)


def observed(learner: Learner, seed: int = 0) -> LearnerState:
    episode = small_episode()
    state = learner.init_state(seed=seed, codebook=episode.codebook)
    return learner.observe(state, episode.train_x, episode.train_y)


def answers(learner: Learner, state: LearnerState) -> torch.Tensor:
    return learner.predict(state, small_episode().test_x)


@each_mixer
def test_its_state_is_named_and_does_not_grow(mixer: Mixer, kind: str, numbers: int):
    learner = small_learner(mixer=mixer).eval()
    state = observed(learner)
    assert [layer.spec.kind for layer in state.layers] == [kind, kind]
    assert sum(tensor[0].numel() for tensor in state.layers[0]) == numbers
    episode = small_episode()
    assert learner.observe(state, episode.train_x, episode.train_y).nbytes == state.nbytes


@each_mixer
def test_a_few_steps_of_training_lower_the_loss(mixer: Mixer, kind: str, numbers: int):
    learner = small_learner(mixer=mixer, selectivity=Selectivity())
    optimizer = torch.optim.Adam(learner.parameters(), 1e-2)
    episode = small_episode()
    losses: list[float] = []
    for step in range(40):
        output = learner(episode, step)
        assert output.penalty is not None
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        losses.append(output.loss.item())
    assert losses[-1] < 0.7 * losses[0], losses


@each_mixer
def test_reloaded_it_answers_the_same(mixer: Mixer, kind: str, numbers: int):
    learner = small_learner(mixer=mixer).eval()
    state = observed(learner)
    want = answers(learner, state)
    other = Learner(small_config(mixer=mixer), seed=1).eval()
    other.load_state_dict(learner.state_dict())
    pickled = pickle.loads(pickle.dumps(learner))
    assert_same(tensors(pickled), tensors(learner))
    for twin in (other, pickled):
        assert torch.equal(answers(twin, observed(twin)), want)
    # The state alone is all that a learner needs to go on.
    assert torch.equal(answers(other, pickle.loads(pickle.dumps(state))), want)
    file = io.BytesIO()
    torch.save(state.tensors(), file)
    file.seek(0)
    for tensor, saved in zip(state.tensors(), torch.load(file), strict=True):
        assert torch.equal(tensor, saved)


@each_mixer
def test_autocast(mixer: Mixer, kind: str, numbers: int):
    learner = small_learner(mixer=mixer).eval()
    want = answers(learner, observed(learner))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        state = observed(learner)
        output = answers(learner, state)
    assert {tensor.dtype for layer in state.layers for tensor in layer} == {torch.float32}
    torch.testing.assert_close(output.float(), want, rtol=0, atol=0.1 * want.abs().max().item())


def test_a_performer_draws_its_features_with_each_state():
    learner = small_learner(mixer=PerformerMixer(n_head=2, d_feature=16)).eval()
    layers = [learner.init_state(2, seed=seed).layers[0] for seed in (0, 0, 1)]
    one, same, other = (layer.projection for layer in layers)
    assert one.shape == (2, 16, 4)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    answered = [answers(learner, observed(learner, seed)) for seed in (0, 0, 1)]
    assert torch.equal(answered[0], answered[1])
    assert not torch.equal(answered[0], answered[2])


def test_heads_that_are_guided_are_checked():
    heads = SequenceConfig(mixer=AttentionMixer(n_head=2), selectivity=Selectivity(heads=1))
    assert LearnerConfig.from_table(json.loads(heads.to_json())) == heads
    with pytest.raises(ConfigError, match=r"selectivity\.heads` must be at least 1"):
        small_learner(selectivity=Selectivity(heads=0))
    with pytest.raises(ConfigError, match=r"selectivity\.heads` must be at most 2"):
        small_learner(mixer=AttentionMixer(n_head=2), selectivity=Selectivity(heads=3))(small_episode())


def test_an_association_without_steps_of_time_is_refused():
    with pytest.raises(ConfigError, match=r"selectivity.association.*must be \"content\" with this mixer"):
        small_learner(mixer=LinearAttentionMixer(n_head=2), selectivity=Selectivity(association="gated"))
