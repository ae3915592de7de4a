"""Another modality: definitions of nouns, and emoji, each before a frozen encoder of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from mambacl.evaluation import Scores, evaluate, evaluate_predictor
from mambacl.experiments.experiment import Experiment
from mambacl.experiments.trained import Trained
from mambacl.report.markdown import table
from mambacl.report.measuring import CLASS_YARDSTICKS
from mambacl.settings import Settings
from mambacl.studies.bars import draw_ranking
from mambacl.studies.scale import Scale
from mambacl.studies.study import Report, Study, Told
from mambacl.studies.summary import SPREAD, Summary

MODALITIES = {"glosses": "definitions, WordLlama", "emoji": "emoji, EfficientNet-Lite0"}
"""What a sweep's learners read, and by which encoder."""


@dataclass(frozen=True)
class Accuracy(Settings):
    """The accuracy of one model.

    Attributes:
        mean: Over episodes.
        interval: Half its 95 % interval over episodes.
    """

    mean: float
    interval: float

    @classmethod
    def of(cls, scores: Scores) -> Accuracy:
        """From scores of episodes."""
        return cls(*scores.rounded())


@dataclass(frozen=True)
class Bar:
    """What is told of a learner, or a yardstick, in one modality.

    Attributes:
        name: Of the learner.
        seeds: An accuracy for each; of a yardstick one.
        learned: Whether it was meta-trained.
    """

    name: str
    seeds: tuple[Accuracy, ...]
    learned: bool

    @property
    def summary(self) -> Summary:
        """Of the models."""
        return Summary.of([(one.mean, one.interval) for one in self.seeds])


class Modality(Study[Accuracy]):
    """Study 10."""

    name = "modality"
    question = (
        "The learners of characters, trained and tested on what is none: definitions of WordNet, whose "
        "classes are kinds of things, and emoji, whose classes are drawn in 7 or 8 designs. One learner for "
        "each modality, on features of a frozen encoder that comes in a package. 5 tasks, 5 shots; test "
        "classes are of other subtrees of WordNet, and other emoji, than those of meta-training."
    )
    reported = "Not known to us; texts and emoji are ours."
    sweeps = tuple(MODALITIES)
    answer = Accuracy

    def ask(self, trained: Trained, scale: Scale) -> Accuracy:
        """Accuracy on test episodes, the same for all of a modality."""
        return Accuracy.of(evaluate(trained.learner, trained.experiment.source("test"), scale.episodes).score)

    def ask_yardsticks(self, experiment: Experiment, scale: Scale) -> Mapping[str, Accuracy]:
        """The same of predictors without meta-training."""
        source = experiment.source("test")
        return {
            name: Accuracy.of(evaluate_predictor(yardstick, source, scale.episodes))
            for name, yardstick in CLASS_YARDSTICKS.items()
        }

    def report(self, told: Sequence[Told[Accuracy]]) -> Report:
        """A panel for each modality, learners above yardsticks; a table of both."""
        bars = {sweep: each for sweep in MODALITIES if (each := _bars(told, sweep))}
        chance = {one.sweep: 1 / one.outcome.experiment.data.tasks for one in told if one.outcome is not None}
        figure, axes = plt.subplots(
            1, len(bars), figsize=(0.8 + 4.6 * len(bars), 3.6), squeeze=False, layout="constrained"
        )
        for ax, (sweep, each) in zip(axes.flat, bars.items(), strict=True):
            _draw(ax, each, chance.get(sweep))
            ax.set(title=MODALITIES[sweep])
        every = sorted((bar for each in bars.values() for bar in each), key=lambda bar: not bar.learned)
        by_name = {sweep: {bar.name: str(bar.summary) for bar in each} for sweep, each in bars.items()}
        caption = f"Accuracy on test classes. {SPREAD} The last rows were not meta-trained."
        body = table(
            ["learner", *(MODALITIES[sweep] for sweep in bars)],
            [
                [name, *(by_name[sweep].get(name, "-") for sweep in bars)]
                for name in dict.fromkeys(bar.name for bar in every)
            ],
        )
        return Report({"accuracy": figure}, {caption: body})


def _draw(ax: Axes, bars: Sequence[Bar], chance: float | None) -> None:
    """Accuracies, with chance as a line."""
    draw_ranking(ax, {bar.name: bar.summary for bar in bars}, [bar.name for bar in bars if not bar.learned])
    if chance is not None:
        ax.axvline(chance, color="black", linestyle=":")
        ax.text(chance, -0.75, " chance", va="center", fontsize=8)  # above the first bar
    ax.set(xlabel="accuracy", xlim=(0, 1.15), ylim=(len(bars) - 0.4, -1.1))


def _bars(told: Sequence[Told[Accuracy]], sweep: str) -> list[Bar]:
    """Of one modality: learners, then yardsticks."""
    seeds: dict[tuple[str, bool], list[Accuracy]] = {}
    for one in told:
        if one.sweep == sweep:
            seeds.setdefault((one.learner, one.outcome is not None), []).append(one.answer)
    bars = [Bar(name, tuple(each), learned) for (name, learned), each in seeds.items()]
    return sorted(bars, key=lambda bar: not bar.learned)
