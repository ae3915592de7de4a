"""`mambacl evaluate`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from mambacl.data import Split
from mambacl.devices import chosen
from mambacl.experiments.data.episode_data import Shots, Tasks
from mambacl.experiments.trained import load_run
from mambacl.ranges import Count, Episodes, Range
from mambacl.report import measure
from mambacl.report.figures import draw
from mambacl.report.measurement import prepare
from mambacl.report.summary import summary


@dataclass(frozen=True)
class Evaluate:
    """Measure the learner of a run on unseen classes or tasks, and yardsticks on the same episodes.

    Measurement and figures are written into RUN/evaluations, each checkpoint's under a name of its own.
    The default split is that for the one look at the end: make choices with --split validation.

    For example:

      mambacl evaluate runs/glyphs-mamba-seed0

      mambacl evaluate runs/glyphs-mamba-seed0 --tasks 20 --split validation --json

    Attributes:
        run: Folder of a run.
        tasks: Of an episode; as in training by default.
        shots: Examples read of each; as in training by default.
        episodes: How many.
        matrix_episodes: How many for R[i, j], the score on task j after task i.
        offline: How many for one more yardstick: the learner's encoder trained from scratch on each stream,
            seconds an episode, classes only; 0 for none.
        split: Of the episodes: train, validation or test.
        checkpoint: The best on meta-validation, the last, or that of a step.
        other_data: Measure though the data have changed since the run began.
        device: That the learner answers on: cpu, cuda or cuda:N. Yardsticks are computed on the CPU.
        json: Print the measurement as JSON.
    """

    run: tyro.conf.Positional[Path]
    tasks: Annotated[Tasks | None, tyro.conf.arg(metavar="N")] = None
    shots: Annotated[Shots | None, tyro.conf.arg(metavar="K")] = None
    episodes: Annotated[Episodes, tyro.conf.arg(metavar="M")] = 600
    matrix_episodes: Annotated[int, Range(1, 10**6), tyro.conf.arg(metavar="M")] = 100
    offline: Annotated[int, Range(0, 10**6), tyro.conf.arg(metavar="M")] = 0
    split: Split = "test"
    checkpoint: Literal["best", "last"] | Count = "best"
    other_data: bool = False
    device: str = "cpu"
    json: bool = False


def run(command: Evaluate) -> None:
    """Measures, writes and prints.

    Raises:
        MambaclError: If the run cannot be read, its data have changed, or episodes of these sizes cannot be
            drawn.
        OSError: If the folder cannot be written.
    """
    device = chosen(command.device, "evaluate")
    trained = load_run(command.run, command.checkpoint)
    trained.learner.to(device)
    prepare(command.run)
    measured = measure(
        trained,
        command.split,
        tasks=command.tasks,
        train_shots=command.shots,
        episodes=command.episodes,
        matrix_episodes=command.matrix_episodes,
        offline_episodes=command.offline,
        other_data=command.other_data,
    )
    file = measured.save(command.run)
    figures = draw(trained, measured)
    if command.json:
        print(json.dumps(asdict(measured)))
    else:
        print(f"{summary(measured)}\n\nWritten to {file}; figures in {figures}")
