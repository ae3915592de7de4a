"""The process of one cell: `python -m mambacl.sweeps.worker FILE CELL RUNS RESULTS JOBS DEVICE`."""

from __future__ import annotations

import sys
from pathlib import Path

from mambacl.errors import RunError
from mambacl.processes import work
from mambacl.sweeps.advance import advance
from mambacl.sweeps.outcome import Results
from mambacl.sweeps.reading import read_sweep


def main() -> None:
    """Works on the cell."""
    file, name, runs, results, jobs, device = sys.argv[1:]
    sweep = read_sweep(Path(file))
    cell = next((cell for cell in sweep.cells if cell.name == name), None)
    if cell is None:
        raise RunError(f"sweep: `{file}` has no cell {name!r} any more")
    advance(sweep, cell, Path(runs), Results(Path(results)), jobs=int(jobs), device=device)


if __name__ == "__main__":
    work(main)
