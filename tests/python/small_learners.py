"""Learners small enough to test, and streams for them."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from mambacl import ClassTarget, Episode, Learner, MambaMixer, SequenceConfig, VectorEncoder
from mambacl.config import Target

DIM = 5
VOCAB = 8
CONFIG = SequenceConfig(
    encoder=VectorEncoder(DIM, hidden=(6,)),
    target=ClassTarget(VOCAB),
    mixer=MambaMixer(d_state=4, d_conv=3),
    d_model=8,
    n_layer=2,
)


def small_config(**changes: Any) -> SequenceConfig:
    return dataclasses.replace(CONFIG, **changes)


def small_learner(seed: int = 0, **changes: Any) -> Learner:
    """With running statistics and parameters off their simple first values: a mix-up shows."""
    learner = Learner(small_config(**changes), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in learner.state_dict().items():
            if name.endswith(("norm.weight", "norm.bias", "running_mean", "norm_f.weight", ".D")):
                tensor.add_(0.3 * torch.randn(tensor.shape, generator=generator))
            elif name.endswith("running_var"):
                tensor.mul_(0.5 + torch.rand(tensor.shape, generator=generator))
    return learner


def targets(target: Target, batch: int, examples: int, generator: torch.Generator) -> Tensor:
    if isinstance(target, ClassTarget):
        return torch.randint(0, 4, (batch, examples), generator=generator)
    vectors = torch.randn(batch, examples, target.dim, generator=generator)
    return torch.nn.functional.normalize(vectors, dim=-1)


def small_episode(
    batch: int = 2, examples: int = 8, queries: int = 6, target: Target = CONFIG.target, seed: int = 0
) -> Episode:
    generator = torch.Generator().manual_seed(seed)
    classifies = isinstance(target, ClassTarget)
    symbols = [torch.randperm(VOCAB if classifies else 0, generator=generator) for _ in range(batch)]
    return Episode(
        train_x=torch.randn(batch, examples, DIM, generator=generator),
        train_y=targets(target, batch, examples, generator),
        test_x=torch.randn(batch, queries, DIM, generator=generator),
        test_y=targets(target, batch, queries, generator),
        codebook=torch.stack(symbols),
        train_task=None if classifies else torch.randint(0, 3, (batch, examples), generator=generator),
        test_task=None if classifies else torch.randint(0, 3, (batch, queries), generator=generator),
    )


def tensors(learner: Learner) -> dict[str, Tensor]:
    """Copies of all parameters and buffers."""
    return {name: tensor.clone() for name, tensor in learner.state_dict().items()}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name
