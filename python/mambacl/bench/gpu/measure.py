"""All that is measured on a GPU."""

from __future__ import annotations

import importlib

import torch

from mambacl.bench.gpu.clock import Clock
from mambacl.bench.gpu.kernels import bandwidth, peers
from mambacl.bench.gpu.learners import inference, replicated, training
from mambacl.bench.gpu.reading import Reading
from mambacl.bench.gpu.sizes import Sizes
from mambacl.bench.published import Mixer
from mambacl.nn import Mamba

HOW_TO_BUILD = (
    "mamba-ssm and causal-conv1d are not installed here; on a machine with nvcc: "
    "`pip install --no-build-isolation causal-conv1d mamba-ssm`"
)


def measure(device: torch.device, sizes: Sizes) -> tuple[list[Reading], list[str]]:
    """Measures everything.

    Args:
        device: A GPU; or the CPU, for a dry run.
        sizes: To measure at.

    Returns:
        The numbers, in the order of the tables; and what could not be measured, and why.
    """
    clock = Clock(device, sizes.repeats)
    rows, notes = bandwidth(clock, device, sizes), list[str]()
    blocks: dict[str, Mixer] = {"mambacl.nn.Mamba": Mamba}
    try:
        rows += peers(clock, device, sizes)
        blocks["mamba_ssm.Mamba"] = importlib.import_module("mamba_ssm").Mamba
    except ImportError as error:
        notes.append(f"{HOW_TO_BUILD} ({error})")
    rows += inference(clock, device, sizes)
    rows += training(clock, device, sizes)
    try:
        for name, block in blocks.items():
            rows += replicated(clock, device, sizes, block, name)
    except torch.OutOfMemoryError:
        notes.append("a stream for each query does not fit the memory of this GPU: some 30 GB in float32")
    if device.type != "cuda":
        notes.append("no training step was captured as a CUDA graph: this is no GPU")
    return rows, notes
