"""The regulariser: on and off, and one of its settings at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from mambacl.evaluation import Scores, over_seeds, paired_difference, paired_over_seeds
from mambacl.experiments.trained import Trained
from mambacl.plots.lines import draw_seeds
from mambacl.report.markdown import table
from mambacl.settings import Settings
from mambacl.studies.scale import Scale
from mambacl.studies.sequence_learners import UNGUIDED
from mambacl.studies.study import Report, Study, Told
from mambacl.training import History
from mambacl.training.meta_train import read_history

_WINDOW = 50
"""Steps that training accuracy is averaged over."""

_POINTS = 100
"""Of a curve, at most: of all steps neighbours are nearly the same."""

_ARCHITECTURES = ("mamba", "transformer", "linear-transformer")

_WEIGHTS = {
    "mamba-unguided": "0",
    "mamba-lambda-0.1": "0.1",
    "mamba": "0.5, the default",
    "mamba-lambda-1": "1",
    "mamba-lambda-2": "2",
}

_VARIANTS = {
    "mamba-unguided": "off",
    "mamba": "default",
    "mamba-gated": "association gated",
    "mamba-decayed": "association decayed",
    "mamba-uniform": "target uniform",
    "mamba-label-tokens": "keys of label tokens",
    "mamba-all-layers": "all layers",
}


@dataclass(frozen=True)
class TrainingCurve(Settings):
    """How a learner's training went, on the episodes it trained on, averaged over 50 steps.

    Attributes:
        to_half: The first step with an accuracy of 0.5; None if there was none.
        to_most: The same of 0.8.
        steps: At which the accuracy is told.
        accuracy: At each of these, over the steps before it.
    """

    to_half: int | None
    to_most: int | None
    steps: tuple[int, ...]
    accuracy: tuple[float, ...]

    @classmethod
    def of(cls, history: History) -> TrainingCurve:
        """From what training measured; of a few steps half of them are averaged over."""
        window = max(1, min(_WINDOW, len(history.steps) // 2))
        curve = history.accuracy(window)
        every = -(-len(curve) // _POINTS) or 1
        told = [*curve[:-1:every], *curve[-1:]]
        return cls(
            to_half=history.steps_to(0.5, window),
            to_most=history.steps_to(0.8, window),
            steps=tuple(step for step, _ in told),
            accuracy=tuple(round(value, 4) for _, value in told),
        )


class Regulariser(Study[TrainingCurve]):
    """Study 1."""

    name = "regulariser"
    question = (
        "Does selectivity regularisation help Mamba, the Transformer and the linear Transformer to learn, "
        "how strong should it be, and does it matter what it guides? Frozen features of unseen characters, "
        "5 tasks x 5 shots, 1,000 steps; one setting at a time around the default (weight 0.5, content, "
        "mass, all tokens, last layer), and of every row the best of the same three learning rates on "
        "meta-validation. Mamba with and without has three seeds, everything else one."
    )
    reported = (
        "The regulariser is said to improve the stability and the convergence of meta-training for all "
        "models (reported). The exact form of its association, its target, layers and weight are not known "
        "to us."
    )
    sweeps = ("regulariser",)
    answer = TrainingCurve

    def ask(self, trained: Trained, scale: Scale) -> TrainingCurve:
        """What the run's log says; what it came to in the end is in its outcome."""
        del scale
        return TrainingCurve.of(read_history(trained.run))

    def report(self, told: Sequence[Told[TrainingCurve]]) -> Report:
        """Curves by weight, by variant and by architecture; a table of all."""
        by_learner: dict[str, list[Told[TrainingCurve]]] = {}
        for one in told:
            by_learner.setdefault(one.learner, []).append(one)
        weights, weight_ax = plt.subplots(figsize=(6.5, 4.2))
        draw_training(weight_ax, _labelled(by_learner, _WEIGHTS))
        weight_ax.set(title="Mamba, by the weight of the regulariser")
        variants, variant_ax = plt.subplots(figsize=(6.5, 4.2))
        draw_training(variant_ax, _labelled(by_learner, _VARIANTS))
        variant_ax.set(title="Mamba, by what the regulariser guides")
        architectures, axes = plt.subplots(1, len(_ARCHITECTURES), figsize=(13, 4), sharey=True)
        for ax, name in zip(axes, _ARCHITECTURES, strict=True):
            draw_training(
                ax, _labelled(by_learner, {name: "with the regulariser", f"{name}{UNGUIDED}": "without it"})
            )
            ax.set(title=name)
        for figure in (weights, variants, architectures):
            figure.tight_layout()
        caption = (
            "Accuracy on test episodes: over seeds by t, of one seed over episodes; its difference from "
            "the same architecture without the regulariser, paired on identical episodes; and steps until "
            f"the training accuracy, over {_WINDOW} steps, was 0.5 and 0.8 (a dash for never), seed by seed. "
            "[The sweep's table](../../regulariser/table.md) has every learning rate."
        )
        headings = ("learner", "learning rate", "accuracy", "more than without", "steps to 0.5", "to 0.8")
        rows = [self._row(name, by_learner) for name in by_learner]
        figures = {"weights": weights, "variants": variants, "architectures": architectures}
        return Report(figures, {caption: table(headings, rows)})

    def _row(self, name: str, by_learner: Mapping[str, list[Told[TrainingCurve]]]) -> list[str]:
        members = by_learner[name]
        rates = {f"{one.outcome.values.get('train.lr', '')}" for one in members if one.outcome is not None}
        reference = f"{_architecture(name)}{UNGUIDED}"
        off = {} if name == reference else _scores(by_learner.get(reference, ()))
        return [
            name,
            ", ".join(sorted(rates)),
            _over(_scores(members)),
            _more(_scores(members), off),
            ", ".join(_steps(one.answer.to_half) for one in members),
            ", ".join(_steps(one.answer.to_most) for one in members),
        ]


def draw_training(ax: Axes, curves: Mapping[str, Sequence[TrainingCurve]]) -> Axes:
    """Draws training accuracy against steps: the mean over seeds, and a band from the lowest to the highest.

    Args:
        ax: To draw on.
        curves: Of the seeds of each learner, by its label.
    """
    for number, (label, seeds) in enumerate(curves.items()):
        draw_seeds(ax, seeds[0].steps, [one.accuracy for one in seeds], label=label, style=number)
    ax.set(xlabel="training steps", ylabel=f"training accuracy, mean of {_WINDOW} steps", ylim=(0, 1.02))
    ax.grid(alpha=0.3)
    if curves:
        ax.legend(fontsize=7)
    return ax


def _labelled(
    by_learner: Mapping[str, Sequence[Told[TrainingCurve]]], labels: Mapping[str, str]
) -> dict[str, list[TrainingCurve]]:
    """The curves of learners that there are, by label."""
    return {
        label: [one.answer for one in by_learner[name]]
        for name, label in labels.items()
        if name in by_learner
    }


def _architecture(learner: str) -> str:
    return next((name for name in reversed(_ARCHITECTURES) if learner.startswith(name)), learner)


def _scores(members: Sequence[Told[TrainingCurve]]) -> dict[int | None, Scores]:
    """On test episodes, by seed."""
    return {
        one.seed: one.outcome.test.scores
        for one in members
        if one.outcome is not None and one.outcome.test is not None
    }


def _over(scores: Mapping[int | None, Scores]) -> str:
    each = list(scores.values())
    return str(each[0]) if len(each) == 1 else over_seeds([one.mean for one in each]).told()


def _more(scores: Mapping[int | None, Scores], others: Mapping[int | None, Scores]) -> str:
    """The difference over the seeds that both have."""
    seeds = [seed for seed in scores if seed in others]
    if not seeds:
        return ""
    if len(seeds) == 1:
        return paired_difference(scores[seeds[0]], others[seeds[0]]).told()
    return paired_over_seeds([scores[seed] for seed in seeds], [others[seed] for seed in seeds]).told()


def _steps(steps: int | None) -> str:
    return "-" if steps is None else f"{steps:,}"
