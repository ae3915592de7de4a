"""What is timed: operations, and learners in inference and training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mambacl import ops
from mambacl.bench.gpu.clock import Case
from mambacl.bench.gpu.sizes import Sizes
from mambacl.bench.published import MaskedTransformer, ReplicatedMamba
from mambacl.config import ClassTarget, SequenceConfig, VectorEncoder
from mambacl.episodes import Episode
from mambacl.experiments.files import load
from mambacl.learner import Learner

Form = MaskedTransformer | ReplicatedMamba


def of_images(experiment: str, sizes: Sizes) -> SequenceConfig:
    """The learner of an experiment."""
    config = load(experiment).model
    assert isinstance(config, SequenceConfig)
    return replace(config, d_model=sizes.d_model or config.d_model)


def of_features(experiment: str, sizes: Sizes) -> SequenceConfig:
    """The same on vectors in place of images."""
    config = of_images(experiment, sizes)
    return replace(config, encoder=VectorEncoder(config.d_model))


def symbols(config: SequenceConfig) -> int:
    """Of a learner of classes."""
    assert isinstance(config.target, ClassTarget)
    return config.target.vocab


def random_episode(learner: Learner, sizes: Sizes, count: int, device: torch.device) -> Episode:
    """Episodes of random inputs, `count` of them."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(sizes.tasks).repeat_interleave(sizes.shots).repeat(count, 1)
    train_x, test_x = (
        torch.randn(*labels.shape, *learner.config.encoder.input_shape, generator=generator) for _ in range(2)
    )
    codebook = learner.init_state(count).codebook
    assert codebook is not None
    episode = Episode(train_x, labels, test_x, labels.clone(), codebook.cpu())
    return episode.to(device)


def copy(count: int, device: torch.device) -> Case:
    """A copy of so many bytes."""
    source = torch.ones(count // 4, device=device)
    into = torch.empty_like(source)
    return lambda: into.copy_(source)


def scan(arguments: dict[str, Any]) -> Tensor:
    """The scan, as a Mamba block calls it."""
    return ops.selective_scan(**arguments, delta_softplus=True)


def convolve(arguments: dict[str, Any]) -> Tensor:
    """The convolution, as a Mamba block calls it."""
    return ops.causal_conv1d(**arguments, activation="silu")


def with_gradients(op: Callable[[dict[str, Any]], Any], arguments: dict[str, Any]) -> Case:
    """An operation and its gradients to all arguments."""
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in arguments.items()}
    with torch.no_grad():
        weight = torch.randn_like(op(arguments))

    def run() -> None:
        torch.autograd.grad(op(leaves), list(leaves.values()), weight)

    return run


def live(learner: Learner, episode: Episode, precision: str) -> Case:
    """The episode's stream read, and its queries answered."""

    def run() -> None:
        with _autocast(learner.device, precision):
            state = learner.init_state(codebook=episode.codebook)
            state = learner.observe(state, episode.train_x, episode.train_y)
            learner.predict(state, episode.test_x)

    return run


def asked(form: Form, episode: Episode, precision: str) -> Case:
    """The same of a published form."""

    def run() -> None:
        with _autocast(episode.train_x.device, precision):
            form(episode.train_x, episode.train_y, episode.test_x)

    return run


def step(learner: Learner, adam: torch.optim.Optimizer, episode: Episode, precision: str) -> Case:
    """A training step on the episode."""
    return _step(lambda: learner(episode).loss, learner, adam, precision, learner.device)


def step_of_form(form: Form, adam: torch.optim.Optimizer, episode: Episode, precision: str) -> Case:
    """The same of a published form, without a regulariser."""

    def loss() -> Tensor:
        answers = form(episode.train_x, episode.train_y, episode.test_x)  # (batch, Q, vocab)
        return F.cross_entropy(answers.flatten(0, 1), episode.test_y.flatten())

    return _step(loss, form, adam, precision, episode.train_x.device)


def _step(
    loss: Callable[[], Tensor],
    module: nn.Module,
    adam: torch.optim.Optimizer,
    precision: str,
    device: torch.device,
) -> Case:
    def run() -> None:
        adam.zero_grad(set_to_none=True)
        with _autocast(device, precision):
            now = loss()
        now.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        adam.step()

    return run


def _autocast(device: torch.device, precision: str) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
