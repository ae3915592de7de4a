"""All benchmarks, as rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from mambacl import _core
from mambacl.bench import blocks
from mambacl.bench.blocks import BLOCK, MAMBAPY, PROJECTIONS, TRANSFORMER, TRANSFORMERS, Shape
from mambacl.bench.memory import block_memory
from mambacl.bench.streams import episode_step, stream

PEERS_AT = 200
"""The length at which other people's blocks are run: they take long."""


@dataclass(frozen=True)
class Row:
    """One measured ratio or number.

    Attributes:
        name: What was measured.
        value: The number.
        unit: "x" for a ratio.
    """

    name: str
    value: float
    unit: str = "x"


@dataclass(frozen=True)
class Report:
    """All that a run of the benchmarks measured.

    Attributes:
        machine: Versions, SIMD level and threads.
        rows: In the order measured.
        seconds: Median of a forward and backward pass by length, for each block; batch 16, d_model 512.
    """

    machine: str
    rows: list[Row] = field(default_factory=list)
    seconds: dict[str, dict[int, float]] = field(default_factory=dict)


def run(lengths: Sequence[int], repeats: int, examples: int, peers: bool) -> Report:
    """Runs all benchmarks.

    Args:
        lengths: Of sequences.
        repeats: Turns of each.
        examples: Of the stream that is observed one by one.
        peers: Whether to run other people's Mamba blocks too.

    Returns:
        The report.
    """
    report = _empty_report()
    # First: a process that has held more hides the peak of what holds less.
    memory = block_memory(Shape(200))
    kept = sum(memory.kept.values())
    report.rows.append(Row("kept by autograd for a block, length 200", kept / 2**20, "MiB"))
    report.rows.append(Row("peak of a block's step, length 200", memory.peak / 2**20, "MiB"))
    for length in lengths:
        _block_rows(report, Shape(length), peers and length == PEERS_AT, repeats)
    scan = blocks.scans(Shape(200), repeats)
    for name, what in (("loop", "loop of torch ops"), ("reference", "reference loop, in Rust")):
        ratio = scan.ratio(name, "fused")
        report.rows.append(Row(f"{what} / fused scan, forward, length 200", ratio))
    halves = blocks.precisions(Shape(200), repeats)
    ratio = halves.ratio("bfloat16", "float32")
    report.rows.append(Row("block under bfloat16 autocast / in float32, length 200", ratio))
    small = Shape(50, d_model=128)
    times = blocks.blocks(small, peers=False, repeats=repeats)
    ratio = times.ratio(BLOCK, PROJECTIONS)
    report.rows.append(Row("block / its projections, length 50, d_model 128", ratio))
    episode = episode_step(repeats)
    report.rows.append(
        Row("episode 20 x 5, each query on its copy / shared state", episode.ratio("replicated", "shared"))
    )
    _stream_rows(report, examples)
    return report


def run_stream(examples: int) -> Report:
    """Runs the stream alone.

    Args:
        examples: Observed one by one.

    Returns:
        The report.
    """
    report = _empty_report()
    _stream_rows(report, examples)
    return report


def run_soak(examples: int) -> Report:
    """Runs the classifier's soak alone, with features as they are and adapted, and its threads.

    Args:
        examples: Of each soak.

    Returns:
        The report.

    Raises:
        InvalidValueError: Before anything is measured, if there are too few examples.
    """
    from mambacl.bench.soak import (
        THREADS,
        differing_threads,
        soak,
    )  # with scikit-learn, which is slow to come

    report = _empty_report()
    for adapt, features in ((False, "features as they are"), (True, "features adapted")):
        told = soak(examples, adapt=adapt)
        for verb, first, slowest in zip(("partial_fit", "predict"), told.first, told.slowest, strict=True):
            report.rows.append(Row(f"{features}: {verb}, first thousand", first * 1e6, "us"))
            of = f"{verb}, slowest tenth of {told.examples:,} / first thousand"
            report.rows.append(Row(f"{features}: {of}", slowest / first))
        report.rows.extend(
            [
                Row(f"{features}: growth of memory", told.growth / 2**20, "MiB"),
                Row(f"{features}: bytes kept, at the end / early", told.state_bytes[1] / told.state_bytes[0]),
                Row(f"{features}: probabilities not finite", told.not_finite, ""),
            ]
        )
    differing = differing_threads()
    report.rows.append(Row(f"of {THREADS} threads with one learner, differ from one", differing, ""))
    return report


def _empty_report() -> Report:
    level = _core.simd_level()
    return Report(f"torch {torch.__version__}, {level}, {torch.get_num_threads()} threads")


def _block_rows(report: Report, shape: Shape, peers: bool, repeats: int) -> None:
    times = blocks.blocks(shape, peers, repeats)
    for name in times.seconds:
        report.seconds.setdefault(name, {})[shape.length] = times.median(name)
    of = f"length {shape.length}"
    report.rows.append(Row(f"block / its projections, {of}", times.ratio(BLOCK, PROJECTIONS)))
    report.rows.append(Row(f"Transformer layer / block, {of}", times.ratio(TRANSFORMER, BLOCK)))
    if peers:
        for name in (MAMBAPY, TRANSFORMERS):
            report.rows.append(Row(f"{name} / block, {of}", times.ratio(name, BLOCK)))


def _stream_rows(report: Report, examples: int) -> None:
    told = stream(examples)
    rows = [Row(f"time of example {at:,} / of an early one", late / told.early) for at, late in told.late]
    rows += [
        Row("observe one example", told.late[-1][1] * 1e6, "us"),
        Row("answer one query", told.predict * 1e6, "us"),
        Row("state after / before", told.state_bytes[1] / told.state_bytes[0]),
        Row(f"growth of memory over {told.examples:,} examples", told.growth / 2**20, "MiB"),
    ]
    report.rows.extend(rows)
