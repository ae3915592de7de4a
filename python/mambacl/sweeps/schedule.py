"""Running the cells of a sweep as processes beside one another."""

from __future__ import annotations

from pathlib import Path

from mambacl.processes import Failure, Job, Pool
from mambacl.runs.lock import held
from mambacl.sweeps.outcome import Outcome, Results
from mambacl.sweeps.plan import due, goal, outcomes
from mambacl.sweeps.sweep import Cell, Sweep


def run(
    sweep: Sweep, file: Path, runs: Path, results: Results, jobs: int, device: str = "cpu"
) -> list[Failure]:
    """Runs all that is left to do of a sweep; what is done is not done again.

    Each cell is a process with its share of the threads, and a log beside the folder of its run.

    Args:
        sweep: To run.
        file: It was read from.
        runs: Folder of its runs.
        results: Where outcomes are written.
        jobs: Processes at a time.
        device: That all train and are tested on.

    Returns:
        The cells that failed; the others went on, except those of a learner whose search could not end.

    Raises:
        ConfigError: If `jobs` is below 1.
        RunError: If another process works on the folder, or an outcome cannot be read.
        OSError: If a folder cannot be written.
        KeyboardInterrupt: After Ctrl-C or SIGTERM: all processes have saved and ended by then, unless another
            one, seconds later, cut that short.
    """
    pool = Pool(jobs)
    runs.mkdir(parents=True, exist_ok=True)
    results.folder.mkdir(parents=True, exist_ok=True)
    cells = {cell.name: cell for cell in sweep.cells}
    places = (str(runs), str(results.folder), str(jobs), device)

    def job(cell: Cell) -> Job:
        arguments = (str(file), cell.name, *places)
        steps = goal(sweep.row(cell.learner), cell, known)
        return Job(cell.name, "mambacl.sweeps.worker", arguments, runs / cell.name, steps)

    def left() -> list[Job]:
        return [job(cell) for cell in due(sweep, known)]

    def ended(job: Job) -> str | None:
        cell = cells[job.name]
        outcome = results.read(cell)
        if outcome is None or outcome == known.get(cell.name):
            return None
        known[cell.name] = outcome
        waiting[:] = left()
        return _told(cell, outcome)

    with held(runs, "sweep: another process works on it"):
        known = outcomes(sweep, results)
        waiting = left()
        return pool.run(
            lambda: waiting,
            ended,
            saved=f"all cells are saved in {runs}; the same command goes on",
        )


def _told(cell: Cell, outcome: Outcome) -> str:
    if outcome.diverged is not None:
        return f"diverged: {outcome.diverged}"
    validation = outcome.best_validation(cell.experiment.metric)
    steps, planned = f"{outcome.steps:,}", cell.experiment.train.steps
    if outcome.steps < planned:
        steps += f" of {planned:,}"
    told = f"{steps} steps in {outcome.seconds / 60:.1f} minutes, validation {validation:.3f}"
    return told if outcome.test is None else f"{told}, test {outcome.test.scores}"
