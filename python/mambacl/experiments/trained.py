"""Learners of finished runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from mambacl import settings
from mambacl.config import SequenceConfig
from mambacl.errors import CheckpointError, RunError
from mambacl.experiments.experiment import Experiment
from mambacl.learner import Learner
from mambacl.runs import RunFolder, checkpoint

Which = Literal["best", "last"] | int
"""A checkpoint: the best on meta-validation, the last, or that of a step."""


@dataclass(frozen=True, eq=False)
class Trained:
    """A learner of a run.

    Attributes:
        run: The run's folder.
        experiment: What it is a run of.
        seed: Of the run.
        step: Training steps that the learner has had.
        learner: In evaluation mode.
        which: The checkpoint that was asked for.
    """

    run: RunFolder
    experiment: Experiment
    seed: int
    step: int
    learner: Learner
    which: Which = "best"


def run_settings(experiment: Experiment, seed: int) -> dict[str, Any]:
    """What a run is a function of, as its folder keeps it; texts on what to expect are no part of it. With a
    learner written in Python, the module that registers it is named too."""
    table = settings.table(experiment)
    kept = {"seed": seed, **{key: table[key] for key in ("name", "model", "train", "data")}}
    modules = experiment.modules
    return {**kept, "plugins": {"modules": list(modules)}} if modules else kept


def run_experiment(run: RunFolder) -> tuple[Experiment, int]:
    """What a run is a run of: its experiment and its seed.

    Raises:
        RunError: If it is none of an experiment.
        ConfigError: If the settings are of another version.
    """
    table = dict(run.settings)
    seed = table.pop("seed", None)
    if not isinstance(seed, int):
        raise RunError(
            f"run: `{run.path}` must hold the run of an experiment, got settings {sorted(run.settings)}"
        )
    return stored_experiment(table), seed


def stored_experiment(table: Mapping[str, Any]) -> Experiment:
    """The experiment of settings that were stored whole.

    Where they lack the initial decay of their mixer they are older than it, and it was that published.

    Args:
        table: The settings, nothing left out.

    Returns:
        The experiment.

    Raises:
        ConfigError: If the settings are of another version.
    """
    return began_as_published(Experiment.from_table(table), table)


def began_as_published(experiment: Experiment, stored: Mapping[str, Any]) -> Experiment:
    """An experiment with the initial decay that is published where stored settings lack one."""
    model = experiment.model
    if not isinstance(model, SequenceConfig) or not hasattr(model.mixer, "initial_decay"):
        return experiment
    if "initial_decay" in stored.get("model", {}).get("mixer", {}):
        return experiment
    mixer = replace(model.mixer, initial_decay="published")
    return replace(experiment, model=replace(model, mixer=mixer))


def load_run(path: Path | str, which: Which = "best") -> Trained:
    """Loads the learner of a run.

    Args:
        path: The run's folder.
        which: The checkpoint: the best on meta-validation, the last, or that of a step.

    Returns:
        The learner, and what it comes from.

    Raises:
        RunError: If the folder holds no run, or there is no such checkpoint.
        CheckpointError: If the checkpoint is damaged.
        ConfigError: If the settings are of another version.
    """
    run = RunFolder.open(Path(path))
    experiment, seed = run_experiment(run)
    folder = run.find(which)
    content = checkpoint.read(folder)
    learner = experiment.learner(seed)
    try:
        learner.load_state_dict(dict(content.parts["model"]))
    except (KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()  # the others say that there is more than one
        raise CheckpointError(f"checkpoint: `{folder}` must be of the run's model: {reason}") from error
    return Trained(run, experiment, seed, content.step, learner.eval(), which)
