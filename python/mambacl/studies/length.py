"""Longer streams than in meta-training: more tasks, or more shots of each."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from matplotlib import pyplot as plt

from mambacl.episodes import SizedEpisodes
from mambacl.evaluation import evaluate
from mambacl.experiments.experiment import Experiment
from mambacl.experiments.trained import Trained
from mambacl.studies.curve import Curve, Line, Point, draw_lines, lines, lines_table, yardstick_curves
from mambacl.studies.scale import Scale
from mambacl.studies.sequence_learners import UNGUIDED, is_sequence
from mambacl.studies.study import Report, Study, Told
from mambacl.studies.summary import SPREAD


class Length(Study[Curve]):
    """Streams of more than in meta-training: of what, derived classes say."""

    sweeps = ("sequence-learners",)
    answer = Curve
    values: ClassVar[tuple[int, ...]]
    varied: ClassVar[str]

    @abstractmethod
    def source(self, experiment: Experiment, value: int) -> SizedEpisodes:
        """Test episodes at a value of what is varied."""

    @abstractmethod
    def trained_at(self, experiment: Experiment) -> int:
        """The value in meta-training."""

    def ask(self, trained: Trained, scale: Scale) -> Curve:
        """Accuracy at each length, on the same episodes for all."""
        points: list[Point] = []
        for value in scale.some(self.values):
            found = evaluate(
                trained.learner, self.source(trained.experiment, value), scale.episodes, batch_size=10
            )
            points.append(Point.of(value, found.score))
        return Curve(tuple(points))

    def ask_yardsticks(self, experiment: Experiment, scale: Scale) -> Mapping[str, Curve]:
        """The same of predictors without meta-training."""
        return yardstick_curves(
            scale.some(self.values), lambda value: self.source(experiment, int(value)), scale.episodes
        )

    def report(self, told: Sequence[Told[Curve]]) -> Report:
        """Two figures beside one another: learners with the regulariser, and without."""
        each = lines(told)
        trained_at = next(self.trained_at(one.outcome.experiment) for one in told if one.outcome is not None)
        guided = [line for line in each if not line.name.endswith(UNGUIDED)]
        with_it = [line for line in guided if is_sequence(line.name)]
        without = [
            Line(line.name.removesuffix(UNGUIDED), line.seeds)
            for line in each
            if line.name.endswith(UNGUIDED)
        ]
        others = [line for line in guided if not is_sequence(line.name)]
        styles = {line.name: number for number, line in enumerate(guided)}
        figure, axes = plt.subplots(1, 3, figsize=(13, 4), sharey=True)
        parts = {
            "with the regulariser": with_it,
            "without it": without,
            "other learners, yardsticks": others,
        }
        for ax, (title, part) in zip(axes, parts.items(), strict=True):
            if part:
                draw_lines(ax, part, xlabel=self.varied, trained_at=trained_at, styles=styles)
            ax.set(title=title, xscale="log", ylim=(0, 1.02))
            ax.set_xticks(each[0].at, [f"{at:g}" for at in each[0].at])
            ax.minorticks_off()
        figure.tight_layout()
        caption = f"Accuracy by {self.varied}; trained at {trained_at}. {SPREAD}"
        return Report({"curves": figure}, {caption: lines_table(each, self.varied)})


class Tasks(Length):
    """Study 2."""

    name = "tasks"
    question = (
        "Trained on streams of 5 tasks, what does a learner make of up to 100? And is it the regulariser "
        "that ties it to the length it was trained at? Frozen features of unseen characters, 5 shots, "
        "symbols for 128 tasks."
    )
    reported = (
        "MambaCL is said to keep up where the Transformer, with more tasks than in meta-training, falls off "
        "(reported); reviewers asked whether the regulariser is the cause of that (known)."
    )
    values = (2, 5, 10, 20, 50, 100)
    varied = "tasks of the stream"

    def source(self, experiment: Experiment, value: int) -> SizedEpisodes:
        """Of so many tasks."""
        return experiment.source("test", tasks=value)

    def trained_at(self, experiment: Experiment) -> int:
        """Tasks."""
        return experiment.data.tasks


class Shots(Length):
    """Study 3."""

    name = "shots"
    question = (
        "Trained on streams of 5 tasks with 5 examples each, what do learners make of fewer, and of more? "
        "Frozen features of unseen characters; at most 15 typefaces of a character are read, 5 others "
        "asked."
    )
    reported = (
        "With more shots than in meta-training the Transformer is said to lose, MambaCL to hold (reported)."
    )
    values = (1, 2, 5, 10, 15)
    varied = "examples of each task"

    def source(self, experiment: Experiment, value: int) -> SizedEpisodes:
        """Of so many shots."""
        return experiment.source("test", train_shots=value)

    def trained_at(self, experiment: Experiment) -> int:
        """Shots."""
        return experiment.data.train_shots
