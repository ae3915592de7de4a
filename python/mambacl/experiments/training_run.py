"""Meta-training an experiment in the folder of a run."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mambacl import __version__
from mambacl.config import SequenceConfig
from mambacl.episodes import Episodes
from mambacl.experiments.experiment import Experiment
from mambacl.experiments.same_data import check_data, digests
from mambacl.experiments.trained import (
    Trained,
    began_as_published,
    load_run,
    run_experiment,
    run_settings,
)
from mambacl.learner import Learner
from mambacl.runs import RunFolder
from mambacl.training import History, StepRecord, meta_train
from mambacl.training.distributed import Ranks


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """A run that can be trained: its folder is made, its episodes can be drawn. Use `begin`.

    Attributes:
        experiment: What it is a run of.
        learner: Before training; what the folder's newest checkpoint holds is read by `train`.
        source: Of meta-training episodes.
        validation: Of meta-validation episodes.
        folder: The run's.
    """

    experiment: Experiment
    learner: Learner
    source: Episodes
    validation: Episodes
    folder: RunFolder

    @classmethod
    def begin(
        cls,
        experiment: Experiment,
        seed: int,
        path: Path,
        *,
        resume: bool,
        other_data: bool = False,
        device: torch.device | str = "cpu",
    ) -> TrainingRun:
        """Makes the folder of a run, or opens it. Of ranks that train together the first makes it.

        Args:
            experiment: To train.
            seed: Of the run.
            path: Of its folder.
            resume: Whether a run of the same settings may be there already.
            other_data: Whether that run may have begun with other data.
            device: To train on; no part of the run, which may go on on another.

        Returns:
            The run.

        Raises:
            ConfigError: If ranks cannot share the episodes of an update evenly.
            InvalidValueError: If such episodes cannot be drawn, or those of meta-test where that is known
                (`EpisodeData.check_test`), or the seed is out of its range; told before a folder is made,
                not at the first meta-validation or in the end.
            RunError: If the folder holds a run (with `resume`, one of other settings or other data).
            OSError: If it cannot be written.
        """
        ranks = Ranks.here()
        ranks.share(experiment.train)
        with ranks.first_before_others():
            wanted = run_settings(experiment, seed)
            begun = _begun(path, wanted) if resume else None
            if begun is not None:  # before data that have changed make no sense to the learner
                check_data(begun, experiment, ("train", "validation"), other_data=other_data)
            learner = experiment.learner(seed).to(device)
            source, validation = experiment.source("train", seed), experiment.source("validation")
            source.batch(0, 1)
            validation.batch(0, 1)
            experiment.data.check_test()
            folder = begun
            if folder is None:
                folder = (
                    RunFolder.create(path, wanted, versions(), digests(experiment))
                    if ranks.leads
                    else RunFolder.open(path)
                )
        return cls(experiment, learner, source, validation, folder)

    def train(
        self,
        stop_at: int | None = None,
        *,
        progress: bool = True,
        on_step: Callable[[StepRecord], None] | None = None,
    ) -> History:
        """Meta-trains, or goes on; see `mambacl.meta_train`, whose errors it raises.

        Args:
            stop_at: Steps to stop after; None for all.
            progress: Whether to show a progress bar.
            on_step: Called with what each step measured.

        Returns:
            All that was measured since the run began.
        """
        return meta_train(
            self.learner,
            self.source,
            self.experiment.train,
            validation=self.validation,
            run=self.folder,
            stop_at=stop_at,
            progress=progress,
            on_step=on_step,
        )

    def summary(self, history: History) -> str:
        """A line on what training came to."""
        metric = self.experiment.metric
        best = history.best(metric.higher_is_better)
        told = f"{len(history.steps)} steps in {history.seconds:.0f} s"
        if best is not None:
            told += f", the best meta-validation {best.score:.3f} ({metric.name}) at step {best.step}"
        skipped = sum(record.skipped for record in history.steps)
        return f"{told}, {skipped} updates skipped" if skipped else told


def trained_run(experiment: Experiment, seed: int, path: Path, device: torch.device | str = "cpu") -> Trained:
    """The best learner of a run, which is trained to its end where it is not: what it came to may have come
    without it.

    Args:
        experiment: It is of.
        seed: Of the run.
        path: Of its folder.
        device: To train on; the learner is on the CPU.

    Returns:
        The learner, and what it comes from.

    Raises:
        MambaclError: If training fails, or the run cannot be read.
        KeyboardInterrupt: After Ctrl-C or SIGTERM in training.
        OSError: If the folder cannot be written.
    """
    if not RunFolder.is_there(path) or RunFolder.open(path).done < experiment.train.steps:
        TrainingRun.begin(experiment, seed, path, resume=True, device=device).train(progress=False)
    return load_run(path)


def as_begun(experiment: Experiment, path: Path) -> Experiment:
    """An experiment as the run in a folder began.

    A run that is older than the setting `initial_decay` began with the published decay, and goes on with that
    where the experiment has today's default.

    Args:
        experiment: To go on with.
        path: Of the run's folder; there may be none yet.

    Returns:
        The experiment, or the same with the published decay.

    Raises:
        RunError: If the folder's run cannot be read.
    """
    mixer = experiment.model.mixer if isinstance(experiment.model, SequenceConfig) else None
    decay = getattr(mixer, "initial_decay", None)
    usual = decay is not None and decay == getattr(type(mixer)(), "initial_decay", None)
    if not usual or not RunFolder.is_there(path):
        return experiment
    return began_as_published(experiment, RunFolder.open(path).settings)


def _begun(path: Path, wanted: Mapping[str, Any]) -> RunFolder | None:
    """The run in a folder, which must be one of these settings; None if there is none.

    Settings that are newer than the run have their defaults.
    """
    if not RunFolder.is_there(path):
        return None
    folder = RunFolder.open(path)
    folder.check_settings(wanted, run_settings(*run_experiment(folder)))
    return folder


def versions() -> dict[str, str]:
    """Of the software that trains."""
    return {"mambacl": __version__, "torch": str(torch.__version__), "python": platform.python_version()}
