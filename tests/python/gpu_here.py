"""The GPU that tests of `tests/python/gpu` run on, and why they do not where there is none."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

GPU = torch.device("cuda", 0)

needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason=f"no GPU is seen by torch {torch.__version__} (CUDA {torch.version.cuda}): not run here",
)
needs_two_gpus = pytest.mark.skipif(
    torch.cuda.device_count() < 2, reason=f"needs two GPUs, torch sees {torch.cuda.device_count()}"
)


def on_gpu(arguments: dict[str, Tensor], device: torch.device = GPU) -> dict[str, Tensor]:
    return {name: tensor.to(device) for name, tensor in arguments.items()}


def on_cpu(results: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.cpu() for name, tensor in results.items()}
