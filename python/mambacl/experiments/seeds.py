"""Seeds of one experiment, each a run in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mambacl.experiments.experiment import Experiment
from mambacl.processes import Failure, Job, Pool
from mambacl.ranges import Count, Seed
from mambacl.settings import Settings


@dataclass(frozen=True)
class SeedJob(Settings):
    """What the process of one seed is told.

    Attributes:
        experiment: Its name, or the path to its file.
        changes: Of its settings, as "a.b=c".
        seed: Of the run.
        folder: Of the run.
        steps: To stop after; None for all.
        resume: Whether to go on from what the folder holds.
        device: To train on.
        other_data: Whether the run may have begun with other data.
    """

    experiment: str
    changes: tuple[str, ...]
    seed: Seed
    folder: str
    steps: Count | None
    resume: bool
    device: str = "cpu"
    other_data: bool = False


def train_seeds(
    experiment: Experiment,
    source: str,
    folders: Mapping[int, Path],
    *,
    changes: Sequence[str] = (),
    steps: int | None = None,
    resume: bool = False,
    jobs: int = 1,
    device: str = "cpu",
    other_data: bool = False,
) -> list[Failure]:
    """Meta-trains a run for each seed. When one fails the others go on.

    Args:
        experiment: To train.
        source: Its name, or the path to its file.
        folders: Of the runs, by seed. What each process tells is a file beside its folder.
        changes: Of its settings, as "a.b=c".
        steps: To stop after; None for all.
        resume: Whether to go on from what the folders hold.
        jobs: Processes at a time, each with its share of the threads.
        device: That all train on.
        other_data: Whether runs may have begun with other data.

    Returns:
        The seeds that failed.

    Raises:
        ConfigError: If `jobs` is below 1.
        InvalidValueError: If such episodes cannot be drawn, or a seed is out of its range.
        OSError: If a folder cannot be written.
        KeyboardInterrupt: After Ctrl-C or SIGTERM: all that run have saved and ended by then.
    """
    pool = Pool(jobs)
    for seed in folders:
        for split in ("train", "validation"):
            # What a cache lacks is computed here, once.
            experiment.source(split, seed).batch(0, 1)
    experiment.data.check_test()
    waiting = {
        folder.name: _job(
            SeedJob(source, tuple(changes), seed, str(folder), steps, resume, device, other_data), experiment
        )
        for seed, folder in folders.items()
    }

    def ended(job: Job) -> str:
        del waiting[job.name]
        return job.log.read_text(errors="replace").strip().splitlines()[-1]

    for folder in folders.values():
        folder.parent.mkdir(parents=True, exist_ok=True)
    saved = "what was trained is saved; the same command with --resume goes on"
    return pool.run(lambda: list(waiting.values()), ended, saved=saved)


def _job(told: SeedJob, experiment: Experiment) -> Job:
    folder = Path(told.folder)
    steps = experiment.train.steps if told.steps is None else told.steps
    return Job(folder.name, "mambacl.experiments.seed_worker", (json.dumps(asdict(told)),), folder, steps)
