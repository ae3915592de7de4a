"""Streams in other orders than those of meta-training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from mambacl import settings
from mambacl.episodes import SizedEpisodes
from mambacl.evaluation import Scores, evaluate, evaluate_predictor
from mambacl.experiments.experiment import Experiment
from mambacl.experiments.trained import Trained
from mambacl.report.markdown import table
from mambacl.report.measuring import CLASS_YARDSTICKS
from mambacl.settings import Settings
from mambacl.stream_order import PlainOrder
from mambacl.studies.scale import Scale
from mambacl.studies.study import Report, Study, Told

ORDERS: tuple[PlainOrder, ...] = get_args(PlainOrder)


@dataclass(frozen=True)
class ByOrder(Settings):
    """Accuracies by the order of the stream.

    Attributes:
        scores: The mean over episodes, and half its 95 % interval, for this one model.
    """

    scores: dict[str, tuple[float, float]]

    @classmethod
    def of(cls, scores: Mapping[PlainOrder, Scores]) -> ByOrder:
        """From scores of episodes."""
        return cls({order: (round(one.mean, 5), round(one.interval, 5)) for order, one in scores.items()})


class Orders(Study[ByOrder]):
    """Study 11."""

    name = "order"
    question = (
        "Meta-training shows a stream class after class. What does a learner make of streams whose examples "
        "are shuffled, whose classes come twice with half of their examples, or have few examples here and "
        "many there? And what of each if it was trained on such streams, or on a mixture of all? Frozen "
        "features of unseen characters, 5 classes, 25 examples; the queries are the same in every order."
    )
    reported = (
        "Not known to us; the paper's streams go class after class (known, of the protocol it follows)."
    )
    sweeps = ("orders",)
    answer = ByOrder

    def ask(self, trained: Trained, scale: Scale) -> ByOrder:
        """Accuracy in each order, on the same episodes for all."""
        orders = scale.some(ORDERS)
        return ByOrder.of(
            {
                order: evaluate(trained.learner, source(trained.experiment, order), scale.episodes).score
                for order in orders
            }
        )

    def ask_yardsticks(self, experiment: Experiment, scale: Scale) -> Mapping[str, ByOrder]:
        """The same of predictors without meta-training."""
        return {
            name: ByOrder.of(
                {
                    order: evaluate_predictor(yardstick, source(experiment, order), scale.episodes)
                    for order in scale.some(ORDERS)
                }
            )
            for name, yardstick in CLASS_YARDSTICKS.items()
        }

    def report(self, told: Sequence[Told[ByOrder]]) -> Report:
        """Rows are what learners were trained on, columns what they were asked."""
        rows: dict[tuple[str, str], list[ByOrder]] = {}
        for one in told:
            rows.setdefault(_row(one), []).append(one.answer)
        orders = list(next(iter(rows.values()))[0].scores)
        cells = {row: [_cell(answers, order) for order in orders] for row, answers in rows.items()}
        means = np.array(
            [
                [np.mean([one.scores[order][0] for one in answers]) for order in orders]
                for answers in rows.values()
            ]
        )
        caption = (
            "Accuracy by the order in meta-training, a row each, and in the test. ± is the 95 % interval "
            "over episodes, for one model; of several seeds lowest and highest."
        )
        body = table(["learner", "trained on", *orders], [[*row, *told] for row, told in cells.items()])
        return Report({"orders": _figure(cells, orders, means)}, {caption: body})


def source(experiment: Experiment, order: PlainOrder) -> SizedEpisodes:
    """Test episodes whose streams are in an order."""
    return experiment.changed({"data": {"order": order}}).source("test", 0)


def _row(one: Told[ByOrder]) -> tuple[str, str]:
    """The learner, without what it was trained on; and that."""
    if one.outcome is None:
        return one.learner, "-"
    order: str = settings.table(one.outcome.experiment.data)["order"]
    return one.learner.removesuffix(f"-{order}"), order


def _cell(answers: Sequence[ByOrder], order: str) -> str:
    means = [one.scores[order][0] for one in answers]
    if len(means) == 1:
        return f"{means[0]:.3f} ± {answers[0].scores[order][1]:.3f}"
    return f"{np.mean(means):.3f} ({min(means):.3f} to {max(means):.3f})"


def _figure(
    cells: Mapping[tuple[str, str], Sequence[str]], orders: Sequence[str], means: np.ndarray
) -> Figure:
    """A grey image with the numbers written on it, white for 1 and black for the lowest."""
    figure, ax = plt.subplots(
        figsize=(2.6 + 1.4 * len(orders), 1.4 + 0.32 * len(cells)), layout="constrained"
    )
    low = min(float(means.min()), 0.9)
    image = ax.imshow(means, cmap="gray", vmin=low, vmax=1, aspect="auto", interpolation="nearest")
    for row, told in enumerate(cells.values()):
        for column, text in enumerate(told):
            ink = "black" if means[row, column] > (1 + low) / 2 else "white"
            ax.text(column, row, text.replace(" (", "\n("), ha="center", va="center", color=ink, fontsize=8)
    ax.set_xticks(range(len(orders)), orders)
    ax.set_yticks(
        range(len(cells)),
        [learner if trained == "-" else f"{learner}, {trained}" for learner, trained in cells],
    )
    ax.set(xlabel="order of the stream in the test", ylabel="learner, order in meta-training")
    figure.colorbar(image, ax=ax, label="accuracy")
    return figure
