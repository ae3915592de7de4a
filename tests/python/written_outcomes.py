"""Outcomes that are written down, of an experiment of the package."""

from __future__ import annotations

from collections.abc import Sequence

from mambacl.experiments.files import load
from mambacl.experiments.trained import run_settings
from mambacl.sweeps import Outcome
from mambacl.sweeps.outcome import OnTest


def written_outcome(experiment: str, learner: str, changes: Sequence[str] = (), seed: int = 0) -> Outcome:
    return Outcome(
        learner=learner,
        seed=seed,
        values={},
        settings=run_settings(load(experiment, changes), seed),
        diverged=None,
        steps=4,
        seconds=2.0,
        step_seconds=0.5,
        threads=1,
        jobs=1,
        validations=(),
        parameters=10,
        state_bytes={"20": 5, "100": 6},
        inference=7.0,
        versions={},
    )


def written_test(tasks: int = 2) -> OnTest:
    """Half of the queries of two episodes answered right."""
    return OnTest(
        step=4,
        tasks=tasks,
        queries=4,
        episodes_sha256="0",
        right=(2, 2),
        vocabulary_accuracy=(0.5, 0.1),
        nll=(0.5, 0.1),
        calibration_error=0.1,
        forgetting=0.1,
        task_accuracy=(0.5,) * tasks,
        yardsticks={},
    )
