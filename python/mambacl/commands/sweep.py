"""`mambacl sweep`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mambacl.devices import chosen
from mambacl.errors import RunError
from mambacl.ranges import Jobs, Range
from mambacl.sweeps import Results, table
from mambacl.sweeps.already import already
from mambacl.sweeps.files import sweep_file
from mambacl.sweeps.offline import OfflineTraining
from mambacl.sweeps.pace import Pace
from mambacl.sweeps.plan import outcomes
from mambacl.sweeps.reading import read_sweep
from mambacl.sweeps.schedule import run as run_cells


@dataclass(frozen=True)
class Sweep:
    """Train and test a family of learners, and write the table that compares them.

    Of each learner the values of [search] are chosen on meta-validation, of a full grid or by successive
    halving; the runs with these are tested once.
    The same command goes on with what is left: a cell that the folder of results has is not trained again.
    That holds for those that come with a checkout as well; folders of your own, --results and --runs, begin
    anew. The table is made of small files in the folder of results, for which no run is needed.

    For example:

      mambacl sweep features-5x5 --jobs 2

      mambacl sweep sweeps/mine.toml --table

      mambacl sweep sweeps/mine.toml --pace

      mambacl sweep features-5x5 --offline 100

    Attributes:
        sweep: A name of the package's, or a path that ends in .toml; docs/scale.md shows such a file.
        jobs: Runs at a time, each a process with its share of the threads.
        runs: Folder of the runs; runs/sweeps/NAME by default.
        results: Folder of what they came to and of the table; docs/results/NAME by default.
        device: To train and test on: cpu, cuda or cuda:N.
        table: Only write the table, of the runs that are done.
        pace: Train no learner, but time all in turns, and write the table by that.
        offline: Train no learner, but the first one's encoder on all of a stream at once, for so many test
            episodes, and write the table with that yardstick.
    """

    sweep: tyro.conf.Positional[str]
    jobs: Annotated[Jobs, tyro.conf.arg(metavar="J")] = 1
    runs: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    results: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    device: str = "cpu"
    table: bool = False
    pace: bool = False
    offline: Annotated[int, Range(0, 10**6), tyro.conf.arg(metavar="M")] = 0


def run(command: Sweep) -> None:
    """Runs, writes and says where.

    Raises:
        MambaclError: If a setting of any cell is wrong, which is told before anything is trained; or if a
            cell failed, when the others have ended.
        OSError: If a folder cannot be written.
        KeyboardInterrupt: After Ctrl-C, with how to go on.
    """
    device = chosen(command.device, "sweep")
    file = sweep_file(command.sweep)
    sweep = read_sweep(file)
    results = Results(command.results or Path("docs/results") / sweep.name)
    failures = []
    if command.pace:
        Pace.measure(sweep, outcomes(sweep, results)).write(results.folder)
    if command.offline:
        OfflineTraining.measure(sweep, command.offline).write(results.folder)
    if not (command.pace or command.offline or command.table):
        sweep.draw_episodes()
        runs = command.runs or Path("runs/sweeps") / sweep.name
        before = outcomes(sweep, results)
        failures = run_cells(sweep, file, runs, results, command.jobs, str(device))
        after = outcomes(sweep, results)
        stayed = [name for name, one in before.items() if after[name].steps == one.steps]
        print(already("cells", results.folder, len(stayed), "trained", len(after) - len(stayed)))
    print(f"Written to {table.write(sweep, results)}")
    if failures:
        told = "".join(f"\n  {one}" for one in failures)
        raise RunError(f"sweep: {len(failures)} cells failed; the same command tries them again{told}")
