"""Devices as users name them, and the way to them."""

from __future__ import annotations

import os

import torch
import torch.distributed as dist
from torch import Tensor

from mambacl.errors import ConfigError


def chosen(name: str, op: str) -> torch.device:
    """The device that a user named.

    Args:
        name: "cpu", "cuda" or "cuda:N". Among ranks that torchrun started "cuda" is each one's own.
        op: Of whose option it is, for the message.

    Returns:
        The device, a GPU with its number.

    Raises:
        ConfigError: If it is none of these, or there is no such GPU; with the reason.

    Examples:
        >>> chosen("cpu", "train")
        device(type='cpu')
    """
    kind, _, number = name.partition(":")
    if name == "cpu":
        return torch.device("cpu")
    numbered = number.isascii() and number.isdigit()
    if kind != "cuda" or not (numbered or name == "cuda"):
        raise ConfigError(f"{op}: `--device` must be cpu, cuda or cuda:N, got {name!r}")
    ranks = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    if ranks and numbered:
        raise ConfigError(
            f"{op}: `--device` must be cpu or cuda where ranks each take their own, got {name!r}"
        )
    if not torch.cuda.is_available():
        raise ConfigError(f"{op}: `--device` must be cpu, got {name!r}: {_why_none()}")
    index = int(number) if numbered else int(os.environ["LOCAL_RANK"]) if ranks else 0
    count = torch.cuda.device_count()
    if index >= count:
        raise ConfigError(
            f"{op}: `--device` must be one of the {count} GPUs that torch sees, got cuda:{index}"
        )
    return torch.device("cuda", index)


def sent(tensor: Tensor, device: torch.device | str) -> Tensor:
    """A tensor on a device, without waiting for the copy: to a GPU it goes by way of pinned memory.

    Args:
        tensor: Of any device.
        device: Where it shall be.
    """
    to_gpu = torch.device(device).type == "cuda" and tensor.device.type == "cpu" and tensor.numel() > 0
    return (tensor.pin_memory() if to_gpu else tensor).to(device, non_blocking=True)


def _why_none() -> str:
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built for CPUs only"
    return f"torch {torch.__version__} is built for CUDA {torch.version.cuda}, and sees no GPU (or no driver)"
