"""The process of one seed: `python -m mambacl.experiments.seed_worker JSON`."""

from __future__ import annotations

import sys
from pathlib import Path

from mambacl import experiments, reading, settings
from mambacl.experiments.seeds import SeedJob
from mambacl.experiments.training_run import TrainingRun, as_begun
from mambacl.processes import work


def main() -> None:
    """Trains, and tells what came out."""
    job = settings.read(SeedJob, reading.parse_json(sys.argv[1]), "seed")
    experiment = experiments.load(job.experiment, job.changes)
    folder = Path(job.folder)
    if job.resume:
        experiment = as_begun(experiment, folder)
    run = TrainingRun.begin(
        experiment, job.seed, folder, resume=job.resume, other_data=job.other_data, device=job.device
    )
    print(run.summary(run.train(job.steps, progress=False)))


if __name__ == "__main__":
    work(main)
