"""Adapts the streams and queries of an episode as an estimator does."""

from __future__ import annotations

import torch
from torch import Tensor

from mambacl.streams.adapter import Adapter
from mambacl.streams.stream import OPENING


def adapted(train_x: Tensor, test_x: Tensor, outputs: int, seed: int) -> tuple[Tensor, Tensor]:
    """Passes a stream and its queries through an estimator's adapter.

    Args:
        train_x: Stream, (T, features) float64.
        test_x: Queries after the stream, (Q, features) float64.
        outputs: Number of inputs of the encoder.
        seed: Seed of the projection.

    Returns:
        Adapted stream, (T, outputs), and queries, (Q, outputs), float32.
    """
    adapter = Adapter.drawn(train_x.shape[1], outputs, seed).after(train_x[:OPENING])
    read = adapter.apply(train_x[:OPENING])
    if len(train_x) > OPENING:
        later, adapter = adapter.reading(train_x[OPENING:])
        read = torch.cat([read, later])
    return read.float(), adapter.apply(test_x).float()
