"""Running the cells of a sweep as processes beside one another."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from mambacl.errors import ConfigError
from mambacl.runs.lock import held
from mambacl.runs.log import RunLog
from mambacl.sweeps.outcome import Outcome, Results
from mambacl.sweeps.plan import due, outcomes
from mambacl.sweeps.sweep import Cell, Sweep
from mambacl.training.interrupts import Interrupts

_POLL = 0.1
_SAME = 2.0
"""Seconds in which a second interrupt is taken for the first: `timeout`, say, sends each twice."""


@dataclass(frozen=True)
class Failure:
    """A cell that did not come to an outcome.

    Attributes:
        cell: Its name.
        reason: The last line that its process told, or the signal that ended it.
        log: All that it told.
    """

    cell: str
    reason: str
    log: Path


@dataclass
class _Job:
    cell: Cell
    before: Outcome | None
    process: subprocess.Popen[bytes]
    log: Path
    steps: RunLog
    slot: int
    bar: tqdm[Any]

    def close(self) -> None:
        """Waits for the process and lets go of what belongs to it."""
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.bar.close()


def run(sweep: Sweep, file: Path, runs: Path, results: Results, jobs: int) -> list[Failure]:
    """Runs all that is left to do of a sweep; what is done is not done again.

    Each cell is a process with its share of the threads, and a log beside the folder of its run.

    Args:
        sweep: To run.
        file: It was read from.
        runs: Folder of its runs.
        results: Where outcomes are written.
        jobs: Processes at a time.

    Returns:
        The cells that failed; the others went on, except those of a learner whose search could not end.

    Raises:
        ConfigError: If `jobs` is below 1.
        RunError: If another process works on the folder, or an outcome cannot be read.
        OSError: If a folder cannot be written.
        KeyboardInterrupt: After Ctrl-C or SIGTERM: all processes have saved and ended by then, unless another
            one, seconds later, cut that short.
    """
    if jobs < 1:
        raise ConfigError(f"sweep: `--jobs` must be at least 1, got {jobs}")
    runs.mkdir(parents=True, exist_ok=True)
    results.folder.mkdir(parents=True, exist_ok=True)
    running: list[_Job] = []
    with held(runs, "sweep: another process works on it"), Interrupts() as interrupts:
        try:
            failures: list[Failure] = []
            with contextlib.suppress(KeyboardInterrupt):  # the same one come twice
                failures = _work(sweep, file, runs, results, jobs, running, lambda: interrupts.requested)
            if interrupts.requested:
                _stop(running)
                raise KeyboardInterrupt(f"all cells are saved in {runs}; the same command goes on")
        finally:
            for job in running:
                job.process.kill()  # nothing, for one that has ended
                job.close()
    return failures


def _work(
    sweep: Sweep,
    file: Path,
    runs: Path,
    results: Results,
    jobs: int,
    running: list[_Job],
    stopped: Callable[[], bool],
) -> list[Failure]:
    failures: list[Failure] = []
    known = outcomes(sweep, results)
    while not stopped():
        busy = {job.cell.name for job in running} | {failure.cell for failure in failures}
        for cell in [cell for cell in due(sweep, known) if cell.name not in busy][: jobs - len(running)]:
            slot = min(set(range(jobs)) - {job.slot for job in running})
            running.append(_start(cell, known.get(cell.name), file, runs, results, jobs, slot))
        if not running:
            break
        time.sleep(_POLL)
        for job in [job for job in running if job.process.poll() is not None]:
            running.remove(job)
            job.close()
            outcome = results.read(job.cell)
            if job.process.returncode != 0 or outcome == job.before or outcome is None:
                failures.append(Failure(job.cell.name, _reason(job), job.log))
                tqdm.write(f"{job.cell.name}: failed, see {job.log}")
            else:
                known[job.cell.name] = outcome
                tqdm.write(f"{job.cell.name}: {_told(job.cell, outcome)}")
        for job in running:
            job.bar.update(max(0, job.steps.last_step() - job.bar.n))
    return failures


def _stop(running: list[_Job]) -> None:
    """Has all processes save and end."""
    asked = time.monotonic()
    for job in running:
        job.process.terminate()
    while any(job.process.poll() is None for job in running):
        try:
            time.sleep(_POLL)
        except KeyboardInterrupt:
            if time.monotonic() - asked > _SAME:
                raise


def _start(
    cell: Cell, before: Outcome | None, file: Path, runs: Path, results: Results, jobs: int, slot: int
) -> _Job:
    threads = str(max(1, torch.get_num_threads() // jobs))
    log = runs / f"{cell.name}.log"
    places = (str(file), cell.name, str(runs), str(results.folder), str(jobs))
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "mambacl.sweeps.worker", *places],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": threads},
            start_new_session=True,  # Ctrl-C on the terminal is for this process, which tells the others once
        )
    total = cell.experiment.train.steps
    bar = tqdm(total=total, desc=cell.name, position=slot, leave=False, disable=None, dynamic_ncols=True)
    return _Job(cell, before, process, log, RunLog(runs / cell.name / "log.jsonl"), slot, bar)


def _told(cell: Cell, outcome: Outcome) -> str:
    if outcome.diverged is not None:
        return f"diverged: {outcome.diverged}"
    validation = outcome.best_validation(cell.experiment.metric)
    told = f"{outcome.steps:,} steps in {outcome.seconds / 60:.1f} minutes, validation {validation:.3f}"
    return told if outcome.test is None else f"{told}, test {outcome.test.scores}"


def _reason(job: _Job) -> str:
    if job.process.returncode < 0:
        return f"its process was ended by signal {-job.process.returncode}"
    lines = job.log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it told nothing"
