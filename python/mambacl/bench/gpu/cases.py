"""What is timed: operations, and learners in inference and training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mambacl import ops
from mambacl.bench.gpu.clock import Case
from mambacl.bench.gpu.sizes import Sizes
from mambacl.config import LearnerConfig, SequenceConfig, VectorEncoder
from mambacl.episodes import Episode
from mambacl.experiments.files import load
from mambacl.learner import Learner


def of_features(experiment: str, sizes: Sizes) -> LearnerConfig:
    """The learner of an experiment, on vectors in place of images."""
    config = load(experiment).model
    assert isinstance(config, SequenceConfig)
    d_model = sizes.d_model or config.d_model
    return replace(config, encoder=VectorEncoder(d_model), d_model=d_model)


def features(learner: Learner, sizes: Sizes, count: int, device: torch.device) -> Episode:
    """Episodes of random vectors."""
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


def live(learner: Learner, episode: Episode, precision: torch.dtype) -> Case:
    """The episode's stream read, and its queries answered."""

    def run() -> None:
        with torch.autocast(learner.device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
            state = learner.init_state(codebook=episode.codebook)
            state = learner.observe(state, episode.train_x, episode.train_y)
            learner.predict(state, episode.test_x)

    return run


def eager(learner: Learner, adam: torch.optim.Optimizer, episode: Episode, precision: str) -> Case:
    """A training step on the episode."""

    def run() -> None:
        adam.zero_grad(set_to_none=True)
        with torch.autocast(learner.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            loss = learner(episode).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        adam.step()

    return run
