"""How fast the learners of a sweep are, timed in turns: a machine that others use is the same to all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch

from mambacl.bench.timing import interleaved
from mambacl.evaluation.protocol import evaluation_mode, first_state
from mambacl.experiments.experiment import Experiment
from mambacl.experiments.training_run import versions
from mambacl.learner import Learner
from mambacl.sweeps.beside import Beside
from mambacl.sweeps.plan import Outcomes, choice
from mambacl.sweeps.sweep import Sweep
from mambacl.training.trainer import Trainer

_EPISODES = 20
"""Read and answered at a time."""


@dataclass(frozen=True)
class Pace(Beside):
    """Seconds of the learners of a sweep, medians over turns in one process.

    Attributes:
        threads: Of the process.
        turns: In each of which every learner was timed.
        step: Seconds of a training step, its episodes drawn, by learner.
        batch_size: Episodes of such a step, by learner.
        episode: Seconds of reading and answering an episode, in batches of 20, by learner.
        versions: Of the software.
    """

    name: ClassVar[str] = "pace"
    indent: ClassVar[int | None] = 1

    threads: int
    turns: int
    step: dict[str, float]
    batch_size: dict[str, int]
    episode: dict[str, float]
    versions: dict[str, str]

    @classmethod
    def measure(cls, sweep: Sweep, known: Outcomes, turns: int = 11) -> Pace:
        """Times every learner of a sweep, with the values that were chosen for it; with its first where they
        are not chosen yet.

        Args:
            sweep: Whose learners.
            known: Its outcomes, which tell what was chosen.
            turns: In each of which every learner is timed.
        """
        training: dict[str, Callable[[], object]] = {}
        inference: dict[str, Callable[[], object]] = {}
        batch_size: dict[str, int] = {}
        for row in sweep.rows:
            chosen = choice(row, known)
            experiment = row.experiment(next(iter(row.experiments)) if chosen is None else chosen)
            source = experiment.source("train", 0)
            training[row.name] = Trainer(experiment.learner(0), source, experiment.train).step
            inference[row.name] = live(experiment, experiment.learner(0))
            batch_size[row.name] = experiment.train.batch_size
        steps, lives = interleaved(training, turns), interleaved(inference, turns)
        return cls(
            threads=torch.get_num_threads(),
            turns=turns,
            step={name: round(steps.median(name), 6) for name in training},
            batch_size=batch_size,
            episode={name: round(lives.median(name) / _EPISODES, 7) for name in inference},
            versions=versions(),
        )


def live(experiment: Experiment, learner: Learner, episodes: int = _EPISODES) -> Callable[[], None]:
    """Reading and answering a batch of meta-validation episodes: test classes are for the one look at the
    end."""
    episode = experiment.source("validation").batch(0, episodes).to(learner.device)

    def lived() -> None:
        with evaluation_mode(learner):
            state = learner.observe(first_state(learner, episode), episode.train_x, episode.train_y)
            learner.predict(state, episode.test_x)

    return lived


def inference(experiment: Experiment, learner: Learner) -> float:
    """Episodes a second of one learner alone."""
    timed = interleaved({"episodes": live(experiment, learner)}, 5, budget=5.0)
    return _EPISODES / timed.median("episodes")
