"""Memory of a training step, beside what autograd must keep for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mambacl.bench.blocks import Shape
from mambacl.nn import Mamba


@dataclass(frozen=True)
class Memory:
    """Bytes of one forward and backward pass of a Mamba block.

    Attributes:
        kept: Of each tensor that autograd keeps from the forward pass to the backward one, by shape;
            parameters and inputs are not counted, and storage that two share counts once.
        peak: Of the process, above what it held before the pass.
    """

    kept: dict[str, int]
    peak: int


def block_memory(shape: Shape) -> Memory:
    """Measures a block's pass, after one that warms up.

    Args:
        shape: Sizes.

    Returns:
        Bytes.
    """
    torch.manual_seed(0)
    block = Mamba(shape.d_model, d_state=shape.d_state)
    tokens = torch.randn(shape.batch, shape.length, shape.d_model, requires_grad=True)
    block(tokens).sum().backward()
    known = {tensor.untyped_storage().data_ptr() for tensor in [tokens, *block.parameters()]}
    kept: dict[int, tuple[str, int]] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = (str(tuple(tensor.shape)), storage.nbytes())
        return tensor

    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = process_bytes("VmRSS")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = block(tokens)
    output.sum().backward()
    by_shape: dict[str, int] = {}
    for name, size in kept.values():
        by_shape[name] = by_shape.get(name, 0) + size
    return Memory(by_shape, process_bytes("VmHWM") - before)


def process_bytes(field: str) -> int:
    """Memory of the process by the name of a field of /proc/self/status, such as "VmRSS" (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
