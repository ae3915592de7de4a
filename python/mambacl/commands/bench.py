"""`mambacl bench`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mambacl import plots
from mambacl.bench import suite


@dataclass(frozen=True)
class Bench:
    """Time the kernels beside their limits and peers: medians of interleaved repeats, as ratios.

    For example:

      mambacl bench --plot times.png

      mambacl bench --peers --lengths 200

    Attributes:
        lengths: Of sequences; batch 16, d_model 512.
        repeats: Turns of each measurement.
        examples: Observed one by one.
        peers: Run other people's Mamba blocks too, which takes minutes; needs the extra `bench`.
        json: Print JSON.
        plot: File for a figure of time against length.
    """

    lengths: tuple[int, ...] = (25, 50, 100, 200, 400, 800, 1600, 3200)
    repeats: int = 5
    examples: int = 100_000
    peers: bool = False
    json: bool = False
    plot: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None


def run(command: Bench) -> None:
    """Measures, prints and draws."""
    report = suite.run(command.lengths, command.repeats, command.examples, command.peers)
    if command.plot is not None:
        plots.save(plots.times(report.seconds), command.plot)
    if command.json:
        print(json.dumps(asdict(report)))
        return
    width = max(len(row.name) for row in report.rows)
    print(report.machine)
    for row in report.rows:
        print(f"  {row.name:<{width}}  {row.value:10.2f} {row.unit}")
