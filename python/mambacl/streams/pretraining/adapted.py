"""Streams and queries as an estimator feeds them to a learner that has read the whole stream."""

from __future__ import annotations

import torch
from torch import Tensor

from mambacl.streams.adapter import Adapter
from mambacl.streams.stream import OPENING


def adapted(train_x: Tensor, test_x: Tensor, outputs: int, seed: int) -> tuple[Tensor, Tensor]:
    """What a learner reads and is asked by way of an estimator's adapter.

    Args:
        train_x: The stream, (T, features) float64.
        test_x: Queries after it, (Q, features) float64.
        outputs: Numbers that the encoder takes.
        seed: Of the projection.

    Returns:
        (T, outputs) and (Q, outputs), float32.
    """
    adapter = Adapter.drawn(train_x.shape[1], outputs, seed).after(train_x[:OPENING])
    read = adapter.apply(train_x[:OPENING])
    if len(train_x) > OPENING:
        later, adapter = adapter.reading(train_x[OPENING:])
        read = torch.cat([read, later])
    return read.float(), adapter.apply(test_x).float()
