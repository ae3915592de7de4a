"""Classes of several characters each, whose mean means nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib import pyplot as plt

from mambacl.episodes import SizedEpisodes
from mambacl.evaluation import evaluate
from mambacl.experiments.data import ClassEpisodes
from mambacl.experiments.experiment import Experiment
from mambacl.experiments.trained import Trained
from mambacl.studies.curve import Curve, Point, draw_lines, lines, lines_table, yardstick_curves
from mambacl.studies.scale import Scale
from mambacl.studies.sequence_learners import is_sequence
from mambacl.studies.study import Report, Study, Told
from mambacl.studies.summary import SPREAD

_MEMBERS = (1, 2, 3, 5)


class Compound(Study[Curve]):
    """Study 12."""

    name = "compound"
    question = (
        "A class of the episode is several characters, and each example shows one of them, so that the mean "
        "of a class lies near none. Trained on classes of three, what does a learner make of such classes, "
        "of plain ones, and of larger ones? Frozen features of unseen characters, 5 classes, 10 shots: of a "
        "class of five a character is seen twice on average."
    )
    reported = "Not known to us; these classes are ours."
    sweeps = ("features-compound",)
    answer = Curve

    def ask(self, trained: Trained, scale: Scale) -> Curve:
        """Accuracy by the characters of a class, on the same episodes for all."""
        points: list[Point] = []
        for members in scale.some(_MEMBERS):
            found = evaluate(trained.learner, source(trained.experiment, members), scale.episodes)
            points.append(Point.of(members, found.score))
        return Curve(tuple(points))

    def ask_yardsticks(self, experiment: Experiment, scale: Scale) -> Mapping[str, Curve]:
        """The same of predictors without meta-training."""
        return yardstick_curves(
            scale.some(_MEMBERS), lambda members: source(experiment, int(members)), scale.episodes
        )

    def report(self, told: Sequence[Told[Curve]]) -> Report:
        """Sequence learners on the left, others and yardsticks on the right."""
        each = lines(told)
        experiment = next(one.outcome.experiment for one in told if one.outcome is not None)
        assert isinstance(experiment.data, ClassEpisodes)
        members = experiment.data.compound
        parts = {
            "sequence learners": [line for line in each if is_sequence(line.name)],
            "other learners, yardsticks": [line for line in each if not is_sequence(line.name)],
        }
        styles = {line.name: number for number, line in enumerate(each)}
        figure, axes = plt.subplots(1, 2, figsize=(9, 4), sharey=True)
        for ax, (title, part) in zip(axes, parts.items(), strict=True):
            ax.axhline(1 / experiment.data.tasks, color="black", linewidth=0.8, label="chance")
            if part:
                draw_lines(ax, part, xlabel="characters of a class", trained_at=members, styles=styles)
            ax.set(title=title, ylim=(0, 1.02))
            ax.set_xticks(each[0].at)
        figure.tight_layout()
        caption = f"Accuracy by the characters of a class; trained at {members}. {SPREAD}"
        return Report({"curves": figure}, {caption: lines_table(each, "characters of a class")})


def source(experiment: Experiment, members: int) -> SizedEpisodes:
    """Test episodes of classes of so many characters."""
    return experiment.changed({"data": {"compound": members}}).source("test")
