"""OML and ANML: their steps and meta-gradients against autograd's own, their states, their use."""

from __future__ import annotations

import dataclasses
import pickle

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mambacl import (
    AngleTarget,
    AnmlConfig,
    ClassTarget,
    CnnEncoder,
    Episode,
    Learner,
    LearnerConfig,
    OmlConfig,
    VectorEncoder,
    VectorTarget,
)
from mambacl.config import Target
from small_learners import DIM, VOCAB, small_episode

CLASSES, VECTORS, ANGLES = ClassTarget(VOCAB), VectorTarget(3), AngleTarget()
VECTOR = VectorEncoder(DIM, hidden=(6,))
IMAGE = CnnEncoder(in_channels=2, image_size=7, channels=(3, 4))

CONFIGS = {
    "oml": OmlConfig(VECTOR, CLASSES, 8, hidden=(7,), inner_lr=0.2),
    "oml, linear": OmlConfig(VECTOR, CLASSES, 8, hidden=(), inner_lr=0.2),
    "oml, deep": OmlConfig(VECTOR, CLASSES, 8, hidden=(7, 6), inner_lr=0.2),
    "oml, images": OmlConfig(IMAGE, CLASSES, 8, hidden=(7,), inner_lr=0.2),
    "oml, vectors": OmlConfig(VECTOR, VECTORS, 8, hidden=(7,), inner_lr=0.2),
    "oml, angles": OmlConfig(VECTOR, ANGLES, 8, hidden=(7,), inner_lr=0.2),
    "anml": AnmlConfig(VECTOR, CLASSES, 8, hidden=(7, 6), inner_lr=0.2),
    "anml, images": AnmlConfig(IMAGE, CLASSES, 8, hidden=(3, 5), inner_lr=0.2),
    "anml, vectors": AnmlConfig(VECTOR, VECTORS, 8, hidden=(7, 6), inner_lr=0.2),
    "anml, angles": AnmlConfig(VECTOR, ANGLES, 8, hidden=(7, 6), inner_lr=0.2),
}
each_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


def episode_for(config: LearnerConfig, dtype: torch.dtype = torch.float32, examples: int = 6) -> Episode:
    episode = small_episode(batch=2, examples=examples, queries=4, target=config.target)
    generator = torch.Generator().manual_seed(1)
    inputs = {"train_x": episode.train_x, "test_x": episode.test_x}
    if isinstance(config.encoder, CnnEncoder):
        shape = (config.encoder.in_channels, config.encoder.image_size, config.encoder.image_size)
        inputs = {name: torch.randn(*x.shape[:2], *shape, generator=generator) for name, x in inputs.items()}
    values = {field.name: getattr(episode, field.name) for field in dataclasses.fields(Episode)} | inputs
    wide = {name: t.to(dtype) for name, t in values.items() if t is not None and t.is_floating_point()}
    return dataclasses.replace(episode, **wide)


Tensors = dict[str, Tensor]


def encode(t: Tensors, config: LearnerConfig, x: Tensor) -> Tensor:
    """The slow encoder in evaluation, (n, d_model)."""

    def norm(name: str, y: Tensor) -> Tensor:
        mean, variance = t[f"{name}.norm.running_mean"], t[f"{name}.norm.running_var"]
        return F.batch_norm(y, mean, variance, t[f"{name}.norm.weight"], t[f"{name}.norm.bias"])

    if isinstance(config.encoder, CnnEncoder):
        for i in range(len(config.encoder.channels)):
            name = f"encoder.layers.{i}"
            x = norm(name, F.conv2d(x, t[f"{name}.conv.weight"], stride=2, padding=1)).relu()
        name = "encoder.projection"
        return norm(name, x.flatten(1) @ t[f"{name}.linear.weight"].T)
    assert isinstance(config.encoder, VectorEncoder)
    for i in range(len(config.encoder.hidden) + 1):
        name = f"encoder.layers.{i}"
        x = norm(name, (x.relu() if i else x) @ t[f"{name}.linear.weight"].T)
    return x


def fast_forward(weights: list[Tensor], x: Tensor, gate: Tensor | None) -> Tensor:
    """The fast network on inputs of one stream, (n, width): weights and biases in turn."""
    pairs = list(zip(weights[::2], weights[1::2], strict=True))
    for weight, bias in pairs[:-1]:
        if x.dim() == 4:
            kernel = weight.unflatten(1, (-1, 3, 3))
            x = F.conv2d(x, kernel, bias, stride=2, padding=1).relu()
        else:
            x = F.linear(x, weight, bias).relu()
    if x.dim() == 4:
        x = x.permute(0, 2, 3, 1).flatten(1)  # position by position
    return F.linear(x if gate is None else x * gate, *pairs[-1])


def inner_loss(target: Target, output: Tensor, y: Tensor) -> Tensor:
    if isinstance(target, ClassTarget):
        return F.cross_entropy(output, y)
    if isinstance(target, VectorTarget):
        return F.mse_loss(output, y)
    return 1 - (output * y).sum() / (output.norm().clamp_min(0.1) * y.norm())


def by_autograd(t: Tensors, config: LearnerConfig, episode: Episode) -> Tensor:
    """The answers, (batch, Q, width), with the inner steps left to autograd."""
    answers: list[Tensor] = []
    for b in range(episode.batch_size):
        stream, queries = episode.train_x[b], episode.test_x[b]
        y = episode.train_y[b]
        if isinstance(config.target, ClassTarget):
            y = episode.codebook[b][y]
        inputs, gates = [encode(t, config, x).relu() for x in (stream, queries)], [None, None]
        if isinstance(config, AnmlConfig):
            encoded = [encode(t, config, x) for x in (stream, queries)]
            gates = [torch.sigmoid(F.linear(e, t["gate.weight"], t["gate.bias"])) for e in encoded]
            inputs = [stream, queries]
        layers = sum(name.startswith("fast.") for name in t) // 2
        fast = [t[f"fast.{i}.{part}"] for i in range(layers) for part in ("weight", "bias")]
        for i in range(len(stream)):
            gate = None if gates[0] is None else gates[0][i : i + 1]
            output = fast_forward(fast, inputs[0][i : i + 1], gate)
            loss = inner_loss(config.target, output, y[i : i + 1])
            gradients = torch.autograd.grad(loss, fast, create_graph=True)
            rate = t["log_inner_lr"].exp()
            fast = [weight - rate * gradient for weight, gradient in zip(fast, gradients, strict=True)]
        logits = fast_forward(fast, inputs[1], gates[1])
        if isinstance(config.target, ClassTarget):
            logits = logits[:, episode.codebook[b]]
        answers.append(logits)
    return torch.stack(answers)


@pytest.mark.parametrize("examples", [6, 40])
@each_config
def test_steps_and_meta_gradients_are_those_of_autograd(config: LearnerConfig, examples: int):
    learner, episode = Learner(config).double().eval(), episode_for(config, torch.float64, examples)
    parameters = dict(learner.named_parameters())
    tensors = {**parameters, **dict(learner.named_buffers())}
    got, want = learner(episode), by_autograd(tensors, config, episode)
    torch.testing.assert_close(got.output, want, rtol=1e-10, atol=1e-12)
    slopes = torch.autograd.grad(learner.loss(want, episode.test_y), list(parameters.values()))
    got.loss.backward()
    for (name, parameter), slope in zip(parameters.items(), slopes, strict=True):
        assert slope.abs().max() > 1e-8, name
        torch.testing.assert_close(
            parameter.grad, slope, rtol=1e-8, atol=1e-11, msg=lambda text, name=name: f"{name}: {text}"
        )


@each_config
def test_a_stream_is_read_without_autograd(config: LearnerConfig):
    learner, episode = Learner(config).eval(), episode_for(config)
    codebook = episode.codebook if learner.is_classifier else None

    def answers() -> Tensor:
        state = learner.init_state(2, codebook=codebook)
        state = learner.observe(state, episode.train_x[:, :4], episode.train_y[:, :4])
        state = learner.observe(state, episode.train_x[:, 4:], episode.train_y[:, 4:])
        return learner.predict(state, episode.test_x)

    want = answers()
    assert want.requires_grad
    with torch.no_grad():
        got = answers()
    assert not got.requires_grad
    assert torch.equal(got, want)
    with torch.inference_mode():
        got = answers()
    assert got.is_inference()
    assert torch.equal(got, want)


@each_config
def test_the_state_is_the_fast_weights(config: LearnerConfig):
    learner = Learner(config)
    state = learner.init_state(2)
    names = [name for name in learner.state_dict() if name.startswith("fast.")]
    assert len(state.layers) == len(names) // 2
    for i, layer in enumerate(state.layers):
        assert layer.spec.names == ("weight", "bias")
        for part, tensor in zip(("weight", "bias"), layer, strict=True):
            initial = learner.get_parameter(f"fast.{i}.{part}")
            assert torch.equal(tensor, initial.expand(2, *initial.shape))
    before = state.detach().clone()
    with torch.no_grad():
        learner.get_parameter("fast.0.weight").add_(1.0)
    for tensor, same in zip(state.tensors(), before.tensors(), strict=True):
        assert torch.equal(tensor, same)


@each_config
def test_a_learner_trains_and_comes_back(config: LearnerConfig):
    learner, episode = Learner(config).train(), episode_for(config)
    optimiser = torch.optim.AdamW(learner.parameter_groups(0.01), lr=3e-3)
    losses: list[float] = []
    for _ in range(20):
        loss = learner(episode).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    want = learner.eval()(episode).output
    loaded = Learner(config, seed=1).eval()
    loaded.load_state_dict(learner.state_dict())
    assert torch.equal(loaded(episode).output, want)
    assert torch.equal(pickle.loads(pickle.dumps(learner))(episode).output, want)


@each_config
def test_fast_weights_stay_in_float32_under_autocast(config: LearnerConfig):
    learner, episode = Learner(config).train(), episode_for(config)
    with torch.autocast("cpu", torch.bfloat16):
        result = learner(episode)
        state = learner.init_state(2)
        state = learner.observe(state, episode.train_x, episode.train_y)
        state = learner.observe(state, episode.test_x, episode.test_y)
    result.loss.backward()
    assert {tensor.dtype for layer in state.layers for tensor in layer} == {torch.float32}
    for name, parameter in learner.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    plain = Learner(config).train()(episode)
    torch.testing.assert_close(result.loss.float(), plain.loss, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@each_config
def test_a_learner_of_half_precision_learns_in_float32(config: LearnerConfig, dtype: torch.dtype):
    learner, episode = Learner(config).eval().to(dtype), episode_for(config, dtype)
    with torch.no_grad():
        state = learner.init_state(2, codebook=episode.codebook if learner.is_classifier else None)
        state = learner.observe(state, episode.train_x, episode.train_y)
        answers = learner.predict(state, episode.test_x)
        want = Learner(config).eval()(episode_for(config)).output
    assert {tensor.dtype for layer in state.layers for tensor in layer} == {torch.float32}
    assert answers.dtype == dtype
    torch.testing.assert_close(answers.float(), want, rtol=0.1, atol=0.1)


def test_settings_are_read_by_kind():
    table = {"kind": "oml", "encoder": {"kind": "vector", "dim": DIM}, "hidden": [32, 16], "inner_lr": 0.1}
    assert LearnerConfig.from_table(table) == OmlConfig(VectorEncoder(DIM), hidden=(32, 16), inner_lr=0.1)
    assert LearnerConfig.from_table({"kind": "anml"}) == AnmlConfig()
    layers = Learner(AnmlConfig(VectorEncoder(DIM))).init_state().layers
    assert [layer[1].shape for layer in layers] == [(1, 256), (1, 256), (1, 64)]
