"""The process of one cell: `python -m mambacl.sweeps.worker FILE CELL RUNS RESULTS JOBS`."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from mambacl.errors import MambaclError, RunError
from mambacl.sweeps.advance import advance
from mambacl.sweeps.outcome import Results
from mambacl.sweeps.reading import read_sweep


def main() -> None:
    """Works on the cell; an error of mambacl is the last line told, and a status of 1."""
    file, name, runs, results, jobs = sys.argv[1:]
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        sweep = read_sweep(Path(file))
        cell = next((cell for cell in sweep.cells if cell.name == name), None)
        if cell is None:
            raise RunError(f"sweep: `{file}` has no cell {name!r} any more")
        advance(sweep, cell, Path(runs), Results(Path(results)), jobs=int(jobs))
    except (MambaclError, OSError) as error:
        sys.exit(f"{error}")
    except KeyboardInterrupt as interrupt:
        print(f"stopped; {interrupt}" if interrupt.args else "stopped", file=sys.stderr)
        sys.exit(130)


def _end_with_parent() -> None:
    """Stops this process, as SIGTERM does, when the one that started it is no more: its end of the pipe is
    closed then, however it went."""
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
