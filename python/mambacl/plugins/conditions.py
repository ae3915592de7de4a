"""What a module is called under: a mode, and the state of torch's generators."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

import torch
from torch import nn


@contextlib.contextmanager
def mode(module: nn.Module, *, training: bool) -> Generator[None, None, None]:
    """Within, the module is in evaluation mode unless training; after, each part is in the mode it was in."""
    if training or not module.training:
        yield
        return
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


@contextlib.contextmanager
def draws(device: torch.device, step: int | None) -> Generator[None, None, None]:
    """Within, what is drawn from torch's generators depends on a number alone, such as that of a training
    step. None leaves them as they are, and so does a CUDA graph that is captured."""
    on_gpu = device.type == "cuda"
    if step is None or (on_gpu and torch.cuda.is_current_stream_capturing()):
        yield
        return
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        torch.default_generator.manual_seed(step)
        if on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(step)
        yield
