"""What the kernels and learners of a GPU are measured by; `make gpu-check` runs all of it.

Everything also runs on the CPU, in small, so that the measuring itself is tested where there is no GPU.
"""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from mambacl import ops
from mambacl.config import LearnerConfig, SequenceConfig, VectorEncoder
from mambacl.episodes import Episode
from mambacl.evaluation.protocol import evaluation_mode
from mambacl.experiments.files import load
from mambacl.learner import Learner
from mambacl.training.captured import CapturedStep

MAMBACL, TRANSFORMER = "glyphs-20-mambacl-full", "glyphs-20-transformer-full"
"""The experiments whose sizes are measured."""

HOW_TO_BUILD = (
    "mamba-ssm and causal-conv1d are not installed here; on a machine with nvcc: "
    "`pip install --no-build-isolation causal-conv1d mamba-ssm`"
)

Case = Callable[[], object]


@dataclass(frozen=True)
class Sizes:
    """What is measured at which sizes.

    Attributes:
        copied: Bytes of the copy that bandwidth is measured by.
        batches: Of scans.
        length: Of scans.
        d_inner: Of scans.
        d_state: Of scans.
        peer_lengths: Of sequences, beside mamba-ssm.
        d_model: Of learners; None for the experiments' own.
        tasks: Of an episode.
        shots: Read of each; as many queries.
        episodes: At a time, in inference.
        training_batch: Episodes of a training step.
        repeats: Of each case.
    """

    copied: int = 1 << 30
    batches: tuple[int, ...] = (16, 64, 256)
    length: int = 200
    d_inner: int = 1024
    d_state: int = 16
    peer_lengths: tuple[int, ...] = (50, 200, 1000, 4000)
    d_model: int | None = None
    tasks: int = 20
    shots: int = 5
    episodes: tuple[int, ...] = (1, 20, 100)
    training_batch: int = 16
    repeats: int = 20


TINY = Sizes(1 << 16, (2,), 5, 16, 4, (5,), 32, 2, 2, (1, 2), 2, 2)
"""For a dry run."""


@dataclass(frozen=True)
class Row:
    """A measured number.

    Attributes:
        table: That it is of.
        name: What was measured.
        value: The number.
        unit: Of it; "x" for a ratio.
        aim: What it should be at least; None where nothing was aimed at.
    """

    table: str
    name: str
    value: float
    unit: str
    aim: float | None = None


class Clock:
    """Times cases on a device; before each the cache is filled with something else.

    Args:
        device: That the cases work on.
        repeats: Of each case, after two that are not measured.
    """

    def __init__(self, device: torch.device, repeats: int) -> None:
        self._device, self._repeats = device, repeats
        # Larger than any L2 there is.
        self._other = torch.empty((1 << 28) if device.type == "cuda" else 1, dtype=torch.uint8, device=device)

    def seconds(self, case: Case) -> float:
        """The median seconds of a case."""
        for _ in range(2):
            case()
        return statistics.median(self._once(case) for _ in range(self._repeats))

    def _once(self, case: Case) -> float:
        self._other.zero_()
        if self._device.type != "cuda":
            began = time.perf_counter()
            case()
            return time.perf_counter() - began
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        with torch.cuda.device(self._device):
            start.record()
            case()
            end.record()
            end.synchronize()
        return start.elapsed_time(end) / 1e3


def measure(device: torch.device, sizes: Sizes) -> tuple[list[Row], list[str]]:
    """Measures everything.

    Args:
        device: A GPU; or the CPU, for a dry run.
        sizes: To measure at.

    Returns:
        The rows, in the order of the tables; and what could not be measured, and why.
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


def bandwidth(clock: Clock, device: torch.device, sizes: Sizes) -> list[Row]:
    """The scan's bytes that must move each second, as a share of what a copy moves (float32)."""
    copied = 2 * sizes.copied / clock.seconds(_copy(sizes.copied, device))
    rows = [Row("bandwidth", "copy", copied / 1e9, "GB/s")]
    for batch in sizes.batches:
        arguments = scan_arguments(batch, sizes.length, sizes.d_inner, sizes.d_state, device)
        wide = 4 * batch * sizes.length * sizes.d_inner
        narrow = 4 * batch * sizes.length * sizes.d_state
        # u, delta, z and y; B and C. Then dy, u, delta, z, du, ddelta and dz; B, C, dB and dC.
        forward, backward = 4 * wide + 2 * narrow, 7 * wide + 4 * narrow
        with torch.no_grad():
            alone = clock.seconds(lambda arguments=arguments: _scan(arguments))
        both = clock.seconds(_with_gradients(_scan, arguments))
        of = f"batch {batch}, length {sizes.length}, d_inner {sizes.d_inner}, d_state {sizes.d_state}"
        rows += [
            Row("bandwidth", f"scan forward / copy, {of}", forward / alone / copied, "x", 0.5),
            Row("bandwidth", f"scan both ways / copy, {of}", (forward + backward) / both / copied, "x", 0.35),
        ]
    return rows


def peers(clock: Clock, device: torch.device, sizes: Sizes) -> list[Row]:
    """mamba-ssm's scan and causal-conv1d beside ours, forward and backward (float32, batch 16).

    Raises:
        ImportError: If they are not installed.
    """
    their_scan = importlib.import_module("mamba_ssm.ops.selective_scan_interface").selective_scan_fn
    their_conv = importlib.import_module("causal_conv1d").causal_conv1d_fn
    rows: list[Row] = []
    for length in sizes.peer_lengths:
        ours = scan_arguments(16, length, sizes.d_inner, sizes.d_state, device)
        theirs = {n: t.transpose(1, 2).contiguous() if t.dim() == 3 else t for n, t in ours.items()}
        scan = clock.seconds(_with_gradients(_scan, ours))
        other = clock.seconds(_with_gradients(lambda a: their_scan(**a, delta_softplus=True), theirs))
        rows.append(Row("beside mamba-ssm", f"its scan / ours, length {length}", other / scan, "x", 1.0))
        weight = torch.randn(sizes.d_inner, 4, device=device)
        bias = torch.randn(sizes.d_inner, device=device)
        ours = {"x": ours["u"], "weight": weight, "bias": bias}
        theirs = {"x": theirs["u"], "weight": weight, "bias": bias}
        conv = clock.seconds(_with_gradients(_convolve, ours))
        other = clock.seconds(_with_gradients(lambda a: their_conv(**a, activation="silu"), theirs))
        name = f"causal-conv1d / ours, length {length}"
        rows.append(Row("beside mamba-ssm", name, other / conv, "x", 1.0))
    return rows


def inference(clock: Clock, device: torch.device, sizes: Sizes) -> list[Row]:
    """Episodes a second, features in: reading a stream at once and answering all queries."""
    rows: list[Row] = []
    for count in sizes.episodes:
        for precision in (torch.float32, torch.bfloat16):
            rates: list[float] = []
            for name in (MAMBACL, TRANSFORMER):
                learner = Learner(of_features(name, sizes)).to(device)
                episode = features(learner, sizes, count, device)
                case = _live(learner, episode, precision)
                with evaluation_mode(learner):
                    rates.append(count / clock.seconds(case))
            of = f"{count} at a time, {str(precision).removeprefix('torch.')}"
            rows += [
                Row("inference", f"MambaCL, {of}", rates[0], "episodes/s"),
                Row("inference", f"Transformer, {of}", rates[1], "episodes/s"),
                Row("inference", f"MambaCL / Transformer, {of}", rates[0] / rates[1], "x"),
            ]
    return rows


def training(clock: Clock, device: torch.device, sizes: Sizes) -> list[Row]:
    """A training step, eager and (on a GPU) as a CUDA graph."""
    rows: list[Row] = []
    for name, told in ((MAMBACL, "MambaCL"), (TRANSFORMER, "Transformer")):
        for precision in ("float32", "bfloat16"):
            learner = Learner(of_features(name, sizes)).to(device).train()
            episode = features(learner, sizes, sizes.training_batch, device)
            capturable = device.type == "cuda"
            adam = torch.optim.AdamW(learner.parameter_groups(0.01), lr=1e-4, capturable=capturable)
            eager = clock.seconds(_eager(learner, adam, episode, precision))
            rows.append(Row("training step", f"{told}, eager, {precision}", 1e3 * eager, "ms"))
            if capturable:
                adam.zero_grad(set_to_none=True)
                step = CapturedStep(learner, adam, episode, precision=precision)
                graph = clock.seconds(lambda step=step, episode=episode: step(episode))
                rows += [
                    Row("training step", f"{told}, graph, {precision}", 1e3 * graph, "ms"),
                    Row("training step", f"{told}, eager / graph, {precision}", eager / graph, "x", 1.0),
                ]
    return rows


def tables(rows: Sequence[Row]) -> str:
    """The rows as Markdown, a table for each of theirs.

    Examples:
        >>> print(tables([Row("bandwidth", "copy", 1234.5, "GB/s")]))
        ### bandwidth
        <BLANKLINE>
        | what | measured | aim |
        | --- | --- | --- |
        | copy | 1234.5 GB/s |  |
        <BLANKLINE>
    """
    lines: list[str] = []
    table = None
    for row in rows:
        if row.table != table:
            table = row.table
            lines += [f"### {table}", "", "| what | measured | aim |", "| --- | --- | --- |"]
        digits = 1 if row.value >= 100 else 3
        aim = "" if row.aim is None else f">= {row.aim:g} {row.unit}"
        lines.append(f"| {row.name} | {row.value:.{digits}f} {row.unit} | {aim} |")
    return "\n".join(lines) + "\n"


def scan_arguments(
    batch: int, length: int, d_inner: int, d_state: int, device: torch.device
) -> dict[str, Any]:
    """Of a scan with all that a Mamba block gives it, float32."""
    generator = torch.Generator(device).manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=device)

    return {
        "u": normal(batch, length, d_inner),
        "delta": normal(batch, length, d_inner),
        "A": -normal(d_inner, d_state).exp(),
        "B": normal(batch, length, d_state),
        "C": normal(batch, length, d_state),
        "D": normal(d_inner),
        "z": normal(batch, length, d_inner),
        "delta_bias": normal(d_inner),
    }


def of_features(experiment: str, sizes: Sizes) -> LearnerConfig:
    """The learner of an experiment, on vectors in place of images."""
    config = load(experiment).model
    assert isinstance(config, SequenceConfig)
    d_model = sizes.d_model or config.d_model
    return replace(config, encoder=VectorEncoder(d_model), d_model=d_model)


def features(learner: Learner, sizes: Sizes, count: int, device: torch.device) -> Episode:
    """Episodes of random vectors."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(sizes.tasks).repeat_interleave(sizes.shots).repeat(count, 1)
    train_x, test_x = (
        torch.randn(*labels.shape, *learner.config.encoder.input_shape, generator=generator) for _ in range(2)
    )
    codebook = learner.init_state(count).codebook
    assert codebook is not None
    episode = Episode(train_x, labels, test_x, labels.clone(), codebook.cpu())
    return episode.to(device)


def _copy(count: int, device: torch.device) -> Case:
    source = torch.ones(count // 4, device=device)
    into = torch.empty_like(source)
    return lambda: into.copy_(source)


def _scan(arguments: dict[str, Any]) -> Tensor:
    return ops.selective_scan(**arguments, delta_softplus=True)


def _convolve(arguments: dict[str, Any]) -> Tensor:
    return ops.causal_conv1d(**arguments, activation="silu")


def _with_gradients(op: Callable[[dict[str, Any]], Any], arguments: dict[str, Any]) -> Case:
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in arguments.items()}
    with torch.no_grad():
        weight = torch.randn_like(op(arguments))

    def run() -> None:
        torch.autograd.grad(op(leaves), list(leaves.values()), weight)

    return run


def _live(learner: Learner, episode: Episode, precision: torch.dtype) -> Case:
    def run() -> None:
        with torch.autocast(learner.device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
            state = learner.init_state(codebook=episode.codebook)
            state = learner.observe(state, episode.train_x, episode.train_y)
            learner.predict(state, episode.test_x)

    return run


def _eager(learner: Learner, adam: torch.optim.Optimizer, episode: Episode, precision: str) -> Case:
    def run() -> None:
        adam.zero_grad(set_to_none=True)
        with torch.autocast(learner.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            loss = learner(episode).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        adam.step()

    return run
