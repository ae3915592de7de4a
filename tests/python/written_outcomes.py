"""Outcomes that are written down, of an experiment of the package."""

from __future__ import annotations

from collections.abc import Sequence

from mambacl.experiments.files import load
from mambacl.experiments.trained import run_settings
from mambacl.sweeps import Outcome


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
