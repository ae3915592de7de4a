"""`mambacl train`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from mambacl import experiments
from mambacl.errors import ConfigError
from mambacl.experiments.training_run import TrainingRun


@dataclass(frozen=True)
class Train:
    """Meta-train a learner; Ctrl-C saves, --resume goes on exactly.

    For example:

      mambacl train glyphs-mamba

      mambacl train glyphs-mamba --seed 1 --set model.selectivity.weight=0 --run-dir runs/without-1

      mambacl train glyphs-mamba --steps 500, and later the rest with --resume

      mambacl train my.toml --set train.lr=1e-3 --set train.batch_size=8

    Attributes:
        experiment: Of `mambacl list`, or a path to a .toml file.
        steps: Stop after so many; the schedule of the learning rate stays that of train.steps.
        set: A setting to change, as a.b=c; may be given again and again.
        run_dir: Folder of the run; runs/EXPERIMENT-seedS by default.
        seed: Of the first parameters and the meta-training episodes.
        resume: Go on from the newest checkpoint in the folder, or begin if there is none.
        quiet: Show no progress bar.
    """

    experiment: tyro.conf.Positional[str]
    steps: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    set: tyro.conf.UseAppendAction[Annotated[tuple[str, ...], tyro.conf.arg(metavar="A.B=C")]] = ()
    run_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    seed: int = 0
    resume: bool = False
    quiet: bool = False


def run(command: Train) -> None:
    """Trains, and says what to do next.

    Raises:
        MambaclError: If a setting is wrong, the folder is taken, or training fails.
        KeyboardInterrupt: After Ctrl-C, with how to resume.
    """
    experiment = experiments.load(command.experiment, command.set)
    if command.steps is not None and not 1 <= command.steps <= experiment.train.steps:
        # Told before a folder is made.
        raise ConfigError(
            f"train: `--steps` must be from 1 to train.steps = {experiment.train.steps}, where the schedule "
            f"ends, got {command.steps}"
        )
    folder = command.run_dir or Path("runs") / f"{experiment.name}-seed{command.seed}"
    training = TrainingRun.begin(experiment, command.seed, folder, resume=command.resume)
    parameters = sum(parameter.numel() for parameter in training.learner.parameters())
    state = training.learner.init_state()
    grows = ", which grows" if state.grows else ""
    print(
        f"{experiment.name}, seed {command.seed}: {parameters:,} parameters, a state of "
        f"{state.nbytes:,} bytes{grows}, {experiment.data.tasks} tasks x "
        f"{experiment.data.train_shots} shots, on {torch.get_num_threads()} threads. In {folder}"
    )
    try:
        history = training.train(command.steps, progress=not command.quiet)
    except KeyboardInterrupt as interrupt:
        # Without a text it is the second one, or came before the first step: nothing new was saved.
        saved = f"saved in {folder}" if interrupt.args and training.folder.checkpoints() else "not saved"
        raise KeyboardInterrupt(f"{saved}; the same command with --resume goes on") from None
    best = history.best(experiment.metric.higher_is_better)
    told = (
        ""
        if best is None
        else f", the best meta-validation {best.score:.3f} ({experiment.metric.name}) at step {best.step}"
    )
    print(f"{len(history.steps)} steps in {history.seconds:.0f} s{told}. Next: mambacl evaluate {folder}")
