"""`mambacl compare`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mambacl import plots
from mambacl.report import compare
from mambacl.report.comparison_table import as_json, table


@dataclass(frozen=True)
class Compare:
    """Put evaluated runs side by side: seeds of the same settings form a group.

    For example:

      mambacl compare runs/on-0 runs/on-1 runs/on-2 runs/off-0 runs/off-1 runs/off-2 --plot curves.png

      mambacl compare runs/on-* runs/off-* --evaluation test-20x5 --json

    Attributes:
        runs: Folders of runs.
        evaluation: SPLIT-TASKSxSHOTS, a measurement of `mambacl evaluate`, with -last or -step-N if that was
            of another checkpoint than the best; by default test episodes of the sizes that the first run
            trained on.
        json: Print JSON.
        plot: File for the learning curves, a line for each group.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    evaluation: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    json: bool = False
    plot: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None


def run(command: Compare) -> None:
    """Compares, prints and draws.

    Raises:
        MambaclError: If a run cannot be read, no run has the evaluation, or the figure's file has an unknown
            suffix; told before any work.
        OSError: If the figure cannot be written.
    """
    if command.plot is not None:
        plots.check_file(command.plot)
    comparison = compare(command.runs, command.evaluation)
    if command.plot is not None:
        curves = {group.name: [member.history for member in group.members] for group in comparison.groups}
        ax = plots.learning_curves(curves)
        command.plot.parent.mkdir(parents=True, exist_ok=True)
        plots.save(ax, command.plot)
    if command.json:
        print(json.dumps(as_json(comparison)))
    else:
        written = "" if command.plot is None else f"\n\nWritten to {command.plot}"
        print(f"{table(comparison)}{written}")
