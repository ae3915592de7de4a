"""`mambacl train`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from mambacl import experiments
from mambacl.devices import chosen
from mambacl.errors import ConfigError, RunError
from mambacl.experiments import Experiment
from mambacl.experiments.seeds import train_seeds
from mambacl.experiments.training_run import TrainingRun, as_begun
from mambacl.ranges import Count, Jobs, Seed
from mambacl.training.distributed import Ranks, joined

_MOST_SEEDS = 1000


@dataclass(frozen=True)
class Train:
    """Meta-train a learner; Ctrl-C saves, --resume goes on exactly.

    For example:

      mambacl train glyphs-mamba

      mambacl train glyphs-mamba --seed 1 --set model.selectivity.weight=0 --run-dir runs/without-1

      mambacl train glyphs-mamba --steps 500, and later the rest with --resume

      mambacl train my.toml --set train.lr=1e-3 --set train.batch_size=8

      mambacl train glyphs-mamba --seeds 0..4 --jobs 2

      torchrun --nproc-per-node 2 -m mambacl train glyphs-mamba

      mambacl train glyphs-20-mambacl-full --device cuda --set train.precision=bfloat16

    Attributes:
        experiment: Of `mambacl list`, or a path to a .toml file.
        steps: Stop after so many; the schedule of the learning rate stays that of train.steps.
        set: A setting to change, as a.b=c; may be given again and again.
        run_dir: Folder of the run; runs/EXPERIMENT-seedS by default.
        seed: Of the first parameters and the meta-training episodes.
        seeds: Train a run for each of these, as 0..4 (five of them) or 0,3,7, in processes of their own.
        jobs: Of --seeds: runs at a time, each with its share of the threads.
        resume: Go on from the newest checkpoint in the folder, or begin if there is none.
        other_data: Of --resume: go on though the data have changed since the run began.
        device: cpu, cuda or cuda:N; a run may go on on another. Ranks of torchrun each take their own GPU.
        quiet: Show no progress: no bar, and off a terminal no line for each meta-validation.
    """

    experiment: tyro.conf.Positional[str]
    steps: Annotated[Count | None, tyro.conf.arg(metavar="N")] = None
    set: tyro.conf.UseAppendAction[Annotated[tuple[str, ...], tyro.conf.arg(metavar="A.B=C")]] = ()
    run_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    seed: Seed = 0
    seeds: Annotated[str | None, tyro.conf.arg(metavar="A..B|A,B,C")] = None
    jobs: Annotated[Jobs, tyro.conf.arg(metavar="J")] = 1
    resume: bool = False
    other_data: bool = False
    device: str = "cpu"
    quiet: bool = False


def run(command: Train) -> None:
    """Trains, and says what to do next. Among processes that torchrun started, the first alone says so.

    Raises:
        MambaclError: If a setting is wrong, the folder is taken, or training fails.
        KeyboardInterrupt: After Ctrl-C, with how to resume.
    """
    with joined() as ranks:
        _check(command, ranks)
        device = chosen(command.device, "train")
        experiment = experiments.load(command.experiment, command.set)
        if command.steps is not None and not 1 <= command.steps <= experiment.train.steps:
            # Told before a folder is made.
            raise ConfigError(
                f"train: `--steps` must be from 1 to train.steps = {experiment.train.steps}, where the "
                f"schedule ends, got {command.steps}"
            )
        if command.seeds is None:
            _train_one(command, experiment, ranks, device)
        else:
            _train_seeds(command, experiment, parse_seeds(command.seeds), device)


def parse_seeds(text: str) -> list[int]:
    """The seeds that a text names: numbers and ranges, both ends included.

    Raises:
        ConfigError: If it names none, one twice, or something else.

    Examples:
        >>> parse_seeds("0..2,7")
        [0, 1, 2, 7]
    """
    seeds: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"(\d{1,20})(?:\.\.(\d{1,20}))?", part.strip(), re.ASCII)
        first = int(found[1]) if found else 0
        last = first if found is None or found[2] is None else int(found[2])
        if found is None or not first <= last < first + _MOST_SEEDS:
            raise ConfigError(
                f"train: `--seeds` must be as 0..4 or 0,3,7, at most {_MOST_SEEDS} of them, got {text!r}"
            )
        seeds += range(first, last + 1)
    if len(set(seeds)) < len(seeds) or len(seeds) > _MOST_SEEDS:
        raise ConfigError(f"train: `--seeds` must be distinct, at most {_MOST_SEEDS} of them, got {text!r}")
    return seeds


def _check(command: Train, ranks: Ranks) -> None:
    """That options fit together."""
    if command.other_data and not command.resume:
        raise ConfigError("train: `--other-data` is of `--resume`, got it without")
    if command.seeds is None:
        if command.jobs != 1:
            raise ConfigError(f"train: `--jobs` is of `--seeds`, got {command.jobs} without it")
        return
    for option, given in (("--seed", command.seed != 0), ("--run-dir", command.run_dir is not None)):
        if given:
            raise ConfigError(
                f"train: `{option}` is of one run, got it with `--seeds`, whose runs are "
                "runs/EXPERIMENT-seedS"
            )
    if ranks.size > 1:
        raise ConfigError("train: `--seeds` starts processes of its own, got it under torchrun")


def _train_one(command: Train, experiment: Experiment, ranks: Ranks, device: torch.device) -> None:
    folder = command.run_dir or _folder(experiment, command.seed)
    if command.resume:
        experiment = as_begun(experiment, folder)
    training = TrainingRun.begin(
        experiment, command.seed, folder, resume=command.resume, other_data=command.other_data, device=device
    )
    if ranks.leads:
        print(_introduction(training, command.seed, ranks), flush=True)  # a log has it first
    try:
        history = training.train(command.steps, progress=not command.quiet)
    except KeyboardInterrupt as interrupt:
        # Without a text it is the second one, or came before the first step: nothing new was saved.
        saved = f"saved in {folder}" if interrupt.args and training.folder.checkpoints() else "not saved"
        raise KeyboardInterrupt(f"{saved}; the same command with --resume goes on") from None
    if ranks.leads:
        print(f"{training.summary(history)}. Next: mambacl evaluate {folder}")


def _train_seeds(command: Train, experiment: Experiment, seeds: list[int], device: torch.device) -> None:
    failures = train_seeds(
        experiment,
        command.experiment,
        {seed: _folder(experiment, seed) for seed in seeds},
        changes=command.set,
        steps=command.steps,
        resume=command.resume,
        other_data=command.other_data,
        jobs=command.jobs,
        device=str(device),
    )
    if failures:
        told = "".join(f"\n  {one}" for one in failures)
        raise RunError(
            f"train: {len(failures)} of {len(seeds)} seeds failed; the same command with --resume tries them "
            f"again{told}"
        )
    folders = " ".join(str(_folder(experiment, seed)) for seed in seeds)
    print(f"Next: mambacl evaluate each of {folders}")


def _folder(experiment: Experiment, seed: int) -> Path:
    return Path("runs") / f"{experiment.name}-seed{seed}"


def _introduction(training: TrainingRun, seed: int, ranks: Ranks) -> str:
    parameters = sum(parameter.numel() for parameter in training.learner.parameters())
    state, data = training.learner.init_state(), training.experiment.data
    grows = ", which grows" if state.grows else ""
    together = f"{ranks.size} ranks of " if ranks.size > 1 else ""
    device = training.learner.device
    place = f"{torch.get_num_threads()} threads" if device.type == "cpu" else str(device)
    return (
        f"{training.experiment.name}, seed {seed}: {parameters:,} parameters, a state of {state.nbytes:,} "
        f"bytes{grows}, {data.tasks} tasks x {data.train_shots} shots, on {together}{place}. "
        f"In {training.folder.path}"
    )
