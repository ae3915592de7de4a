"""Operations: beside the bandwidth of a copy, and beside mamba-ssm's."""

from __future__ import annotations

import importlib

import torch

from mambacl.bench.gpu import cases
from mambacl.bench.gpu.clock import Clock
from mambacl.bench.gpu.reading import Reading
from mambacl.bench.gpu.sizes import Sizes
from mambacl.bench.scan_arguments import scan_arguments


def bandwidth(clock: Clock, device: torch.device, sizes: Sizes) -> list[Reading]:
    """The scan's bytes that must move each second, as a share of what a copy moves (float32)."""
    copied = 2 * sizes.copied / clock.seconds(cases.copy(sizes.copied, device))
    rows = [Reading("bandwidth", "copy", copied / 1e9, "GB/s")]
    for batch in sizes.batches:
        arguments = scan_arguments(batch, sizes.length, sizes.d_inner, sizes.d_state, device)
        wide = 4 * batch * sizes.length * sizes.d_inner
        narrow = 4 * batch * sizes.length * sizes.d_state
        # u, delta, z and y; B and C. Then dy, u, delta, z, du, ddelta and dz; B, C, dB and dC.
        forward, backward = 4 * wide + 2 * narrow, 7 * wide + 4 * narrow
        with torch.no_grad():
            alone = clock.seconds(lambda arguments=arguments: cases.scan(arguments), kernels_alone=True)
        both = clock.seconds(cases.with_gradients(cases.scan, arguments), kernels_alone=True)
        of = f"batch {batch}, length {sizes.length}, d_inner {sizes.d_inner}, d_state {sizes.d_state}"
        rows += [
            Reading("bandwidth", f"scan forward / copy, {of}", forward / alone / copied, "x", 0.5),
            Reading(
                "bandwidth", f"scan both ways / copy, {of}", (forward + backward) / both / copied, "x", 0.35
            ),
        ]
    return rows


def peers(clock: Clock, device: torch.device, sizes: Sizes) -> list[Reading]:
    """mamba-ssm's scan and causal-conv1d beside ours, forward and backward (float32, batch 16).

    Raises:
        ImportError: If they are not installed.
    """
    their_scan = importlib.import_module("mamba_ssm.ops.selective_scan_interface").selective_scan_fn
    their_conv = importlib.import_module("causal_conv1d").causal_conv1d_fn
    rows: list[Reading] = []
    for length in sizes.peer_lengths:
        ours = scan_arguments(16, length, sizes.d_inner, sizes.d_state, device)
        theirs = {n: t.transpose(1, 2).contiguous() if t.dim() == 3 else t for n, t in ours.items()}
        scan = clock.seconds(cases.with_gradients(cases.scan, ours), kernels_alone=True)
        their = cases.with_gradients(lambda a: their_scan(**a, delta_softplus=True), theirs)
        other = clock.seconds(their, kernels_alone=True)
        rows.append(Reading("beside mamba-ssm", f"its scan / ours, length {length}", other / scan, "x", 1.0))
        weight = torch.randn(sizes.d_inner, 4, device=device)
        bias = torch.randn(sizes.d_inner, device=device)
        ours = {"x": ours["u"], "weight": weight, "bias": bias}
        theirs = {"x": theirs["u"], "weight": weight, "bias": bias}
        conv = clock.seconds(cases.with_gradients(cases.convolve, ours), kernels_alone=True)
        their = cases.with_gradients(lambda a: their_conv(**a, activation="silu"), theirs)
        other = clock.seconds(their, kernels_alone=True)
        name = f"causal-conv1d / ours, length {length}"
        rows.append(Reading("beside mamba-ssm", name, other / conv, "x", 1.0))
    return rows
