"""The four measurements: bandwidth, peers, inference and training."""

from __future__ import annotations

import importlib

import torch

from mambacl.bench.gpu import cases
from mambacl.bench.gpu.clock import Clock
from mambacl.bench.gpu.reading import Reading
from mambacl.bench.gpu.sizes import Sizes
from mambacl.bench.scan_arguments import scan_arguments
from mambacl.evaluation.protocol import evaluation_mode
from mambacl.learner import Learner
from mambacl.training.captured import CapturedStep

MAMBACL, TRANSFORMER = "glyphs-20-mambacl-full", "glyphs-20-transformer-full"
"""The experiments whose sizes are measured."""

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
    try:
        rows += peers(clock, device, sizes)
    except ImportError as error:
        notes.append(f"{HOW_TO_BUILD} ({error})")
    rows += inference(clock, device, sizes)
    rows += training(clock, device, sizes)
    if device.type != "cuda":
        notes.append("no training step was captured as a CUDA graph: this is no GPU")
    return rows, notes


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
            alone = clock.seconds(lambda arguments=arguments: cases.scan(arguments))
        both = clock.seconds(cases.with_gradients(cases.scan, arguments))
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
        scan = clock.seconds(cases.with_gradients(cases.scan, ours))
        other = clock.seconds(cases.with_gradients(lambda a: their_scan(**a, delta_softplus=True), theirs))
        rows.append(Reading("beside mamba-ssm", f"its scan / ours, length {length}", other / scan, "x", 1.0))
        weight = torch.randn(sizes.d_inner, 4, device=device)
        bias = torch.randn(sizes.d_inner, device=device)
        ours = {"x": ours["u"], "weight": weight, "bias": bias}
        theirs = {"x": theirs["u"], "weight": weight, "bias": bias}
        conv = clock.seconds(cases.with_gradients(cases.convolve, ours))
        other = clock.seconds(cases.with_gradients(lambda a: their_conv(**a, activation="silu"), theirs))
        name = f"causal-conv1d / ours, length {length}"
        rows.append(Reading("beside mamba-ssm", name, other / conv, "x", 1.0))
    return rows


def inference(clock: Clock, device: torch.device, sizes: Sizes) -> list[Reading]:
    """Episodes a second, features in: reading a stream at once and answering all queries."""
    rows: list[Reading] = []
    for count in sizes.episodes:
        for precision in (torch.float32, torch.bfloat16):
            rates: list[float] = []
            for name in (MAMBACL, TRANSFORMER):
                learner = Learner(cases.of_features(name, sizes)).to(device)
                episode = cases.features(learner, sizes, count, device)
                case = cases.live(learner, episode, precision)
                with evaluation_mode(learner):
                    rates.append(count / clock.seconds(case))
            of = f"{count} at a time, {str(precision).removeprefix('torch.')}"
            rows += [
                Reading("inference", f"MambaCL, {of}", rates[0], "episodes/s"),
                Reading("inference", f"Transformer, {of}", rates[1], "episodes/s"),
                Reading("inference", f"MambaCL / Transformer, {of}", rates[0] / rates[1], "x"),
            ]
    return rows


def training(clock: Clock, device: torch.device, sizes: Sizes) -> list[Reading]:
    """A training step, eager and (on a GPU) as a CUDA graph."""
    rows: list[Reading] = []
    for name, told in ((MAMBACL, "MambaCL"), (TRANSFORMER, "Transformer")):
        for precision in ("float32", "bfloat16"):
            learner = Learner(cases.of_features(name, sizes)).to(device).train()
            episode = cases.features(learner, sizes, sizes.training_batch, device)
            capturable = device.type == "cuda"
            adam = torch.optim.AdamW(learner.parameter_groups(0.01), lr=1e-4, capturable=capturable)
            eager = clock.seconds(cases.eager(learner, adam, episode, precision))
            rows.append(Reading("training step", f"{told}, eager, {precision}", 1e3 * eager, "ms"))
            if capturable:
                adam.zero_grad(set_to_none=True)
                step = CapturedStep(learner, adam, episode, precision=precision)
                graph = clock.seconds(lambda step=step, episode=episode: step(episode))
                rows += [
                    Reading("training step", f"{told}, graph, {precision}", 1e3 * graph, "ms"),
                    Reading("training step", f"{told}, eager / graph, {precision}", eager / graph, "x", 1.0),
                ]
    return rows
