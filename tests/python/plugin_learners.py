"""Learners written in Python, for the tests of plug-ins; a module that other processes import too."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

import mambacl


@dataclass(frozen=True)
class Memory:
    """What a linear memory keeps of its streams."""

    written: Tensor  # (batch, d_key, width)
    keys: Tensor  # (batch, d_key)


class LinearMemory(nn.Module):
    """Linear attention over the stream: sums of keys times targets, read by a query's key."""

    def __init__(self, config: LinearMemoryConfig) -> None:
        super().__init__()
        (self.dim,) = config.encoder.input_shape
        target = config.target
        self.vocab = target.vocab if isinstance(target, mambacl.ClassTarget) else None
        self.width = target.vocab if isinstance(target, mambacl.ClassTarget) else target.dim
        self.encode = nn.Sequential(nn.Linear(self.dim, config.d_model), nn.GELU())
        self.key = nn.Linear(config.d_model, config.d_key)
        self.scale = nn.Parameter(torch.tensor(4.0))
        self.penalty = config.penalty

    def _keys(self, x: Tensor) -> Tensor:
        return functional.softmax(self.key(self.encode(x)), dim=-1)  # positive, (batch, n, d_key)

    def init_state(self, batch_size: int) -> Memory:
        new = self.key.weight.new_zeros
        d_key = self.key.out_features
        return Memory(new(batch_size, d_key, self.width), new(batch_size, d_key))

    def observe(self, state: Memory, x: Tensor, y: Tensor) -> Memory:
        keys = self._keys(x)
        values = y if self.vocab is None else functional.one_hot(y, self.vocab).to(x.dtype)
        return Memory(state.written + keys.transpose(1, 2) @ values, state.keys + keys.sum(1))

    def predict(self, state: Memory, x: Tensor) -> Tensor:
        keys = self._keys(x)
        weights = (keys @ state.keys.unsqueeze(2)).clamp_min(1e-12)
        return self.scale * (keys @ state.written) / weights

    def regulariser(self, state: Memory, episode: mambacl.Episode, step: int) -> Tensor:
        return self.penalty * state.keys.square().mean()


@mambacl.register("linear-memory")
@dataclass(frozen=True)
class LinearMemoryConfig(mambacl.LearnerConfig):
    """A linear memory.

    Attributes:
        d_key: Numbers in a key.
        penalty: Weight of the squares of the sums of keys in the loss.
    """

    d_key: int = 16
    penalty: float = 1e-3

    def build(self, seed: int) -> nn.Module:
        return LinearMemory(self)
