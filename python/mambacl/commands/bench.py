"""`mambacl bench`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import tyro

from mambacl import plots
from mambacl.bench import blocks, suite
from mambacl.bench.streams import check_examples
from mambacl.errors import InvalidValueError
from mambacl.ranges import Count, Range


@dataclass(frozen=True)
class Bench:
    """Time the kernels beside their limits and peers: medians of interleaved repeats, as ratios.

    For example:

      mambacl bench --plot times.png

      mambacl bench --peers --lengths 200

      mambacl bench --stream-only --examples 1000000

      mambacl bench --soak --examples 1000000

    Attributes:
        lengths: Of sequences; batch 16, d_model 512.
        repeats: Turns of each measurement.
        examples: Observed one by one.
        stream_only: Observe them with a learner, and measure nothing else.
        soak: Observe them with classifiers, ask after each, let 100 threads share a learner; nothing else.
        peers: Run other people's Mamba blocks too, which takes minutes; needs the extra `bench`.
        json: Print JSON.
        plot: File for a figure of time against length.
    """

    lengths: tuple[Annotated[int, Range(1, 10**6)], ...] = (25, 50, 100, 200, 400, 800, 1600, 3200)
    repeats: Annotated[int, Range(1, 10**6)] = 5
    examples: Count = 100_000
    stream_only: bool = False
    soak: bool = False
    peers: bool = False
    json: bool = False
    plot: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None


def run(command: Bench) -> None:
    """Measures, prints and draws.

    Raises:
        InvalidValueError: Before anything is measured, if an option makes no sense, or peers are not
            installed.
    """
    _check(command)
    if command.stream_only:
        report = suite.run_stream(command.examples)
    elif command.soak:
        report = suite.run_soak(command.examples)
    else:
        report = suite.run(command.lengths, command.repeats, command.examples, command.peers)
    if command.json:
        print(json.dumps(asdict(report)))
    else:
        width = max(len(row.name) for row in report.rows)
        print(report.machine)
        for row in report.rows:
            print(f"  {row.name:<{width}}  {row.value:10.2f} {row.unit}")
    if command.plot is not None:
        command.plot.parent.mkdir(parents=True, exist_ok=True)
        plots.save(plots.times(report.seconds), command.plot)


def _check(command: Bench) -> None:
    check_examples(command.examples)
    if command.soak and command.stream_only:
        raise InvalidValueError("bench: `--soak` and `--stream-only` leave each other out, got both")
    if not command.lengths:
        raise InvalidValueError("bench: `--lengths` must have at least one, got none")
    if command.peers:
        missing = [name for name in blocks.PEER_PACKAGES if find_spec(name) is None]
        if missing:
            install = "pip install '.[bench]' in the checkout"
            raise InvalidValueError(f"bench: `--peers` needs {' and '.join(missing)}; {install}")
    if command.plot is not None:
        plots.check_file(command.plot)
        if command.stream_only or command.soak:
            option = "--soak" if command.soak else "--stream-only"
            raise InvalidValueError(f"bench: `--plot` draws times of blocks, which `{option}` leaves out")
