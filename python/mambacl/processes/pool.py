"""Processes beside one another, each with its share of the threads, a log and a bar."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from mambacl.errors import ConfigError
from mambacl.runs.log import RunLog
from mambacl.training.interrupts import Interrupts

_POLL = 0.1
_SAME = 2.0
"""Seconds in which a second interrupt is taken for the first: `timeout`, say, sends each twice."""


@dataclass(frozen=True)
class Job:
    """A run to train in a process of its own.

    Attributes:
        name: What it is called; one of a name runs at a time.
        module: Of Python, which calls `work`.
        arguments: To it.
        run: Folder of the run.
        steps: That it has at the end.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    run: Path
    steps: int

    @property
    def log(self) -> Path:
        """What its process tells, beside the folder of its run."""
        return self.run.with_name(f"{self.run.name}.log")


@dataclass(frozen=True)
class Failure:
    """A job that came to nothing.

    Attributes:
        job: Its name.
        reason: The last line that its process told, or the signal that ended it.
        log: All that it told.
    """

    job: str
    reason: str
    log: Path

    def __str__(self) -> str:
        return f"{self.job}: {self.reason} (see {self.log})"


@dataclass
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    log: RunLog
    slot: int
    bar: tqdm[Any]

    def close(self) -> None:
        """Waits for the process and lets go of what belongs to it."""
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.bar.close()


class Pool:
    """Runs jobs as processes.

    Args:
        jobs: Processes at a time.

    Raises:
        ConfigError: If `jobs` is below 1.
    """

    def __init__(self, jobs: int) -> None:
        if jobs < 1:
            raise ConfigError(f"jobs: `--jobs` must be at least 1, got {jobs}")
        self._jobs = jobs
        self._running: list[_Running] = []

    def run(
        self, due: Callable[[], Sequence[Job]], ended: Callable[[Job], str | None], *, saved: str
    ) -> list[Failure]:
        """Runs all jobs that are due, until none is.

        Args:
            due: The jobs that are to do now, in order; those that run or have failed may be among them.
            ended: Called when the process of a job has ended well; tells what it came to, or None for
                nothing.
            saved: Where everything lies after an interrupt, and how to go on.

        Returns:
            The jobs that failed.

        Raises:
            OSError: If a log cannot be written.
            KeyboardInterrupt: After Ctrl-C or SIGTERM: all processes have saved and ended by then, unless
                another one, seconds later, cut that short.
        """
        with Interrupts() as interrupts:
            try:
                failures: list[Failure] = []
                with contextlib.suppress(KeyboardInterrupt):  # the same one come twice
                    failures = self._work(due, ended, lambda: interrupts.requested)
                if interrupts.requested:
                    self._stop()
                    raise KeyboardInterrupt(saved)
            finally:
                for one in self._running:
                    one.process.kill()  # nothing, for one that has ended
                    one.close()
                self._running.clear()
        return failures

    def _work(
        self,
        due: Callable[[], Sequence[Job]],
        ended: Callable[[Job], str | None],
        stopped: Callable[[], bool],
    ) -> list[Failure]:
        failures: list[Failure] = []
        while not stopped():
            busy = {one.job.name for one in self._running} | {failure.job for failure in failures}
            free = self._jobs - len(self._running)
            for job in [job for job in due() if job.name not in busy][:free]:
                self._running.append(self._start(job))
            if not self._running:
                break
            time.sleep(_POLL)
            for one in [one for one in self._running if one.process.poll() is not None]:
                self._running.remove(one)
                one.close()
                told = ended(one.job) if one.process.returncode == 0 else None
                if told is None:
                    failures.append(Failure(one.job.name, _reason(one), one.job.log))
                    told = f"failed, see {one.job.log}"
                tqdm.write(f"{one.job.name}: {told}")
            for one in self._running:
                one.bar.update(max(0, one.log.last_step() - one.bar.n))
        return failures

    def _start(self, job: Job) -> _Running:
        slot = min(set(range(self._jobs)) - {one.slot for one in self._running})
        threads = str(max(1, torch.get_num_threads() // self._jobs))
        with job.log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", job.module, *job.arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": threads},
                # Ctrl-C on the terminal is for this process, which tells the others once.
                start_new_session=True,
            )
        bar = tqdm(
            total=job.steps, desc=job.name, position=slot, leave=False, disable=None, dynamic_ncols=True
        )
        return _Running(job, process, RunLog(job.run / "log.jsonl"), slot, bar)

    def _stop(self) -> None:
        """Has all processes save and end."""
        asked = time.monotonic()
        for one in self._running:
            one.process.terminate()
        while any(one.process.poll() is None for one in self._running):
            try:
                time.sleep(_POLL)
            except KeyboardInterrupt:
                if time.monotonic() - asked > _SAME:
                    raise


def _reason(one: _Running) -> str:
    if one.process.returncode < 0:
        return f"its process was ended by signal {-one.process.returncode}"
    lines = one.job.log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it told nothing"
