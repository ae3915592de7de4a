"""What holds for every kind of learner and every mixer there is, the newest included."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.checkpoint import checkpoint

from gaussian_episodes import GaussianEpisodes
from mambacl import (
    ClassTarget,
    Episode,
    Learner,
    LearnerConfig,
    LearnerState,
    SequenceConfig,
    VectorEncoder,
    VectorTarget,
    load_learner,
    load_state,
    save_learner,
    save_state,
)
from mambacl.config import LEARNERS, ExpertsFeedForward, Mixer
from mambacl.errors import ConfigError, FileError, TorchError
from plugin_learners import LinearMemoryConfig
from small_learners import assert_same
from torch_threads import on_threads

BASE = {"encoder": VectorEncoder(dim=4), "target": ClassTarget(vocab=6), "d_model": 64}
OF_VECTORS = {**BASE, "target": VectorTarget(dim=3)}
CLASSES_ALONE = ("prototype", "gemcl")
MIXERS = [mixer() for mixer in get_args(get_args(Mixer)[0])]
OTHERS = {kind: config for kind, config in LEARNERS.items() if kind != "sequence"}
CONFIGS: dict[str, LearnerConfig] = {
    **{kind: config(**BASE) for kind, config in OTHERS.items()},
    **{mixer.kind: SequenceConfig(**BASE, mixer=mixer) for mixer in MIXERS},
    **{
        f"{mixer.kind}, experts": SequenceConfig(**BASE, mixer=mixer, feed_forward=ExpertsFeedForward())
        for mixer in MIXERS
    },
    **{f"{mixer.kind}, no norm": SequenceConfig(**BASE, mixer=mixer, norm="none") for mixer in MIXERS},
    **{
        f"{kind}, vectors": config(**OF_VECTORS)
        for kind, config in OTHERS.items()
        if kind not in CLASSES_ALONE
    },
    **{f"{mixer.kind}, vectors": SequenceConfig(**OF_VECTORS, mixer=mixer) for mixer in MIXERS},
    "written in Python": LinearMemoryConfig(**BASE),
    "written in Python, vectors": LinearMemoryConfig(**OF_VECTORS),
}

every_learner = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
# Each kind and mixer once, and the experts: for tests that take long.
KINDS = {name: config for name, config in CONFIGS.items() if "," not in name or name == "mamba, experts"}
every_kind = pytest.mark.parametrize("config", KINDS.values(), ids=KINDS)


def drawn(learner: Learner, seed: int) -> Episode:
    """Three episodes of the learner's targets: labels, or a vector for each class, moved by the input."""
    episode = GaussianEpisodes(seed=seed).batch(0, 3)
    if learner.is_classifier:
        return episode
    generator = torch.Generator().manual_seed(seed)
    of_class = torch.randn(3, 3, generator=generator)
    train_y, test_y = (
        of_class[labels] + 0.1 * x[..., :3]
        for labels, x in ((episode.train_y, episode.train_x), (episode.test_y, episode.test_x))
    )
    return replace(
        episode,
        train_y=train_y,
        test_y=test_y,
        codebook=torch.zeros(3, 0, dtype=torch.int64),
        train_task=episode.train_y,
        test_task=episode.test_y,
    )


def first_state(learner: Learner, episode: Episode) -> LearnerState:
    if learner.is_classifier:
        return learner.init_state(codebook=episode.codebook)
    return learner.init_state(episode.batch_size)


def predictions(learner: Learner) -> torch.Tensor:
    episode = drawn(learner, seed=5)
    learner.eval()
    with torch.no_grad():
        state = learner.observe(first_state(learner, episode), episode.train_x, episode.train_y)
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
    assert {layer.spec.kind for layer in state.layers} == {getattr(config, "mixer", config).kind}
    episode = drawn(learner, seed=0)
    state = learner.observe(first_state(learner, episode), episode.train_x, episode.train_y)
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
        output = learner(drawn(learner, seed=0), step)
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
    episode = drawn(learner, seed=0)
    initial = first_state(learner, episode)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = learner(episode, 0)
        state, _ = learner.observe_traced(initial, episode.train_x, episode.train_y)
    output.loss.backward()
    assert all(
        torch.isfinite(parameter.grad).all()
        for parameter in learner.parameters()
        if parameter.grad is not None
    )
    assert {tensor.dtype for layer in state.layers for tensor in layer} == {torch.float32}


def same_state(got: LearnerState, want: LearnerState, tolerance: float = 0.0) -> None:
    assert torch.equal(got.examples_of_each(), want.examples_of_each())
    for one, other in zip(got.tensors(), want.tensors(), strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def rows(learner: Learner, streams: int, examples: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Examples of so many streams."""
    parts = [drawn(learner, seed + part) for part in range(streams // 3 + 1)]
    x, y = (torch.cat([getattr(part, name) for part in parts]) for name in ("train_x", "train_y"))
    return x[:streams, :examples], y[:streams, :examples]


@every_learner
def test_streams_that_are_gathered_observed_and_scattered_are_each_as_alone(config: LearnerConfig):
    """In double precision: the sums of a matrix product depend on the batch."""
    learner = Learner(config, seed=1).double().eval()
    told = learner.init_state().uses_positions
    bank = learner.init_state(5, seed=3)
    alone = [bank.select([stream]) for stream in range(5)]
    # Where tokens are told their positions, none is put among those that have read less.
    turns = [[4, 0, 2, 1, 3]] * 2 if told else [[4, 0], [2], [0, 3, 4]]
    for turn, streams in enumerate(turns):
        x, y = rows(learner, len(streams), 1 + turn, seed=7 * turn)
        x, y = x.double(), y if learner.is_classifier else y.double()
        before = bank.clone()
        read = learner.observe(bank.select(streams), x, y)
        after = read.select(torch.tensor(streams).argsort()) if told else bank.scatter(streams, read)
        same_state(bank, before)  # a value: it stays as it was
        bank = after
        for row, stream in enumerate(streams):
            alone[stream] = learner.observe(alone[stream], x[row : row + 1], y[row : row + 1])
    assert bank.examples_of_each().tolist() == [state.examples for state in alone]
    same_state(bank, LearnerState.cat(alone), 1e-10)
    asked = list(range(5)) if told else [0, 2, 3, 4]
    x, _ = rows(learner, len(asked), 4, seed=50)
    answers = learner.predict(bank.select(asked), x.double())
    for row, stream in enumerate(asked):
        want = learner.predict(alone[stream], x[row : row + 1].double())
        torch.testing.assert_close(answers[row : row + 1], want, rtol=1e-9, atol=1e-9)


@every_learner
def test_scatter_in_place_comes_to_the_same(config: LearnerConfig):
    learner = Learner(config, seed=1).eval()
    bank = learner.init_state(4)
    x, y = rows(learner, 4, 2, seed=0)
    one, other = learner.observe(bank, x, y), learner.observe(bank, x.flip(0), y.flip(0))
    want = one.scatter([2, 0], other.select([0, 1]))
    got = one.clone().scatter([2, 0], other.select([0, 1]), in_place=True)
    same_state(got, want)
    assert not all(map(torch.equal, want.tensors(), one.tensors()))


@every_learner
def test_states_and_learners_come_back_from_their_files(config: LearnerConfig, tmp_path: Path):
    learner = Learner(config, seed=1).eval()
    episode = drawn(learner, seed=2)
    state = learner.observe(first_state(learner, episode), episode.train_x, episode.train_y)
    save_learner(tmp_path / "model", learner)
    save_state(tmp_path / "state", state, learner)
    again = load_learner(tmp_path / "model")
    assert again.config == learner.config
    assert again.fingerprint() == learner.fingerprint() != Learner(config, seed=2).fingerprint()
    assert not again.training
    for name, tensor in learner.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    same_state(load_state(tmp_path / "state", again), state)
    with pytest.raises(FileError, match="must be a state of this model, whose fingerprint is"):
        load_state(tmp_path / "state", Learner(config, seed=2))


@pytest.mark.parametrize("kind", CLASSES_ALONE)
def test_kinds_of_classes_alone_refuse_vectors(kind: str):
    with pytest.raises(ConfigError):
        Learner(LEARNERS[kind](**OF_VECTORS))


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


@every_learner
def test_every_parameter_takes_part_in_every_step(config: LearnerConfig):
    """DistributedDataParallel counts on it: it would wait for a gradient that does not come."""
    learner = Learner(config).train()
    for step in (0, 10**6):
        learner.zero_grad()
        learner(drawn(learner, 0), step).loss.backward()
        assert [name for name, parameter in learner.named_parameters() if parameter.grad is None] == []


def learnt(config: LearnerConfig) -> dict[str, torch.Tensor]:
    """What one step of meta-training computes, and the predictions before it."""
    learner = Learner(config, seed=1)
    before = predictions(learner)
    loss = learner.train()(drawn(learner, seed=6)).loss
    loss.backward()
    gradients = {name: p.grad for name, p in learner.named_parameters() if p.grad is not None}
    return {"predictions": before, "loss": loss.detach(), **gradients}


@every_learner
def test_threads_change_rounding_alone(config: LearnerConfig):
    """The same number of threads gives the same bits; another one numbers within 1e-4 of the largest."""
    with on_threads(1):
        one = learnt(config)
    with on_threads(5):
        several = learnt(config)
        assert_same(learnt(config), several)
    for name, tensor in one.items():
        finite = tensor.isfinite()  # of symbols never shown there are logits of -inf
        scale = tensor[finite].abs().max().item()
        torch.testing.assert_close(several[name], tensor, rtol=0, atol=1e-4 * scale + 1e-7)


@every_learner
def test_checkpointing_gives_the_same_gradients(config: LearnerConfig):
    """Its early stop is an exception inside an operation that the engine calls."""
    learner = Learner(config).train()
    episode = drawn(learner, 0)
    learner(episode).loss.backward()
    want = [parameter.grad for parameter in learner.parameters()]
    learner.zero_grad()
    checkpoint(lambda: learner(episode).loss, use_reentrant=False).backward()
    for parameter, gradient in zip(learner.parameters(), want, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=0)


@every_kind
def test_fake_tensors_tell_shapes(config: LearnerConfig):
    with FakeTensorMode():
        learner = Learner(config).eval()
        episode = drawn(learner, 0)
        state = learner.observe(first_state(learner, episode), episode.train_x, episode.train_y)
        output = learner.predict(state, episode.test_x)
        loss = learner.loss(output, episode.test_y)
        learner.train()(episode).loss.backward()
    width = 6 if learner.is_classifier else 3
    assert isinstance(output, FakeTensor)
    assert isinstance(loss, FakeTensor)
    assert (output.shape, loss.shape) == ((3, episode.test_y.shape[1], width), ())
    want = Learner(config).init_state(3)
    assert [(t.shape, t.dtype) for t in learner.init_state(3).tensors()] == [
        (t.shape, t.dtype) for t in want.tensors()
    ]
    assert all(parameter.grad is not None for parameter in learner.parameters())


@every_kind
def test_traced_and_functionalized_predictions_are_the_same(config: LearnerConfig):
    learner = Learner(config).eval()
    episode = drawn(learner, 0)

    def answers(x: torch.Tensor) -> torch.Tensor:
        return learner.predict(learner.observe(initial, x, episode.train_y), episode.test_x)

    with torch.no_grad():
        initial = first_state(learner, episode)
        want = answers(episode.train_x)
        other = answers(episode.train_x + 1)
        traced = make_fx(answers, tracing_mode="fake", _allow_non_fake_inputs=True)(episode.train_x)
        functional = torch.func.functionalize(answers)(episode.train_x)
        torch.testing.assert_close(traced(episode.train_x + 1), other, rtol=1e-4, atol=1e-4)
    assert not torch.equal(want, other)
    torch.testing.assert_close(functional, want, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what torch.func imports
@every_kind
def test_transforms_are_right_or_refused_by_name(config: LearnerConfig):
    learner = Learner(config).double().eval()
    episode = drawn(learner, 0)
    x, train_y, queries = episode.train_x.double(), episode.train_y, episode.test_x.double()
    if not learner.is_classifier:
        train_y = train_y.double()
    initial = first_state(learner, episode)

    def answers(x: torch.Tensor) -> torch.Tensor:
        return learner.predict(learner.observe(initial, x, train_y), queries)

    def weighed(x: torch.Tensor) -> torch.Tensor:
        return answers(x).clamp(-1e3, 1e3).square().sum()

    several = torch.stack([x, x.flip(1)])
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(weighed(leaf), leaf)
    with torch.no_grad():
        each = torch.stack([answers(one) for one in several])
    mapped = torch.func.vmap(answers)(several)
    torch.testing.assert_close(mapped, each, rtol=1e-6, atol=1e-6)
    for transformed, want in (
        (lambda: torch.func.grad(weighed)(x), gradient),
        (lambda: torch.func.jvp(weighed, (x,), (x,))[1], (gradient * x).sum()),
    ):
        try:
            got = transformed()
        except TorchError as error:
            said = str(error)
        else:
            torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-6)
            continue
        assert "torch.func" in said
        assert "torch.autograd.grad" in said


@every_learner
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_learners_of_half_precision_train(config: LearnerConfig, dtype: torch.dtype):
    def halved(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    learner = Learner(config).train()
    episode = drawn(learner, 0)
    want = learner(episode).loss.item()
    learner = Learner(config).to(dtype).train()
    fields = ("train_x", "train_y", "test_x", "test_y")
    episode = replace(episode, **{name: halved(getattr(episode, name)) for name in fields})
    output = learner(episode)
    output.loss.backward()
    assert output.loss.item() == pytest.approx(want, rel=0.1, abs=0.05)
    for name, parameter in learner.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    running = [tensor for name, tensor in learner.named_buffers() if name.endswith("running_mean")]
    assert all(tensor.dtype == dtype and tensor.abs().max() > 0 for tensor in running)
