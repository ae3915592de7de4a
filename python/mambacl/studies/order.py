"""Streams in other orders than those of meta-training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from mambacl.episodes import SizedEpisodes
from mambacl.experiments.data import ClassEpisodes
from mambacl.experiments.experiment import Experiment
from mambacl.experiments.trained import Trained
from mambacl.report.markdown import table
from mambacl.stream_order import PlainOrder
from mambacl.studies.conditions import ByCondition, ask_class_yardsticks, ask_learner, summaries
from mambacl.studies.scale import Scale
from mambacl.studies.study import Report, Study, Told
from mambacl.studies.summary import SPREAD, Summary

ORDERS: tuple[PlainOrder, ...] = get_args(PlainOrder)


class Orders(Study[ByCondition]):
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
    answer = ByCondition

    def ask(self, trained: Trained, scale: Scale) -> ByCondition:
        """Accuracy in each order, on the same episodes for all."""
        return ask_learner(trained.learner, _sources(trained.experiment, scale), scale.episodes)

    def ask_yardsticks(self, experiment: Experiment, scale: Scale) -> Mapping[str, ByCondition]:
        """The same of predictors without meta-training."""
        return ask_class_yardsticks(_sources(experiment, scale), scale.episodes)

    def report(self, told: Sequence[Told[ByCondition]]) -> Report:
        """Rows are what learners were trained on, columns what they were asked."""
        rows: dict[tuple[str, str], list[ByCondition]] = {}
        for one in told:
            rows.setdefault(_row(one), []).append(one.answer)
        orders = list(next(iter(rows.values()))[0].scores)
        cells = {row: summaries(answers, orders) for row, answers in rows.items()}
        caption = f"Accuracy by the order in meta-training, a row each, and in the test. {SPREAD}"
        body = table(
            ["learner", "trained on", *orders], [[*row, *map(str, each)] for row, each in cells.items()]
        )
        return Report({"orders": _figure(cells, orders)}, {caption: body})


def source(experiment: Experiment, order: PlainOrder) -> SizedEpisodes:
    """Test episodes whose streams are in an order."""
    return experiment.changed({"data": {"order": order}}).source("test")


def _sources(experiment: Experiment, scale: Scale) -> dict[str, SizedEpisodes]:
    return {order: source(experiment, order) for order in scale.some(ORDERS)}


def _row(one: Told[ByCondition]) -> tuple[str, str]:
    """The learner, without what it was trained on; and that."""
    if one.outcome is None:
        return one.learner, "-"
    data = one.outcome.experiment.data
    assert isinstance(data, ClassEpisodes)
    return one.learner.removesuffix(f"-{data.order}"), data.order


def _figure(cells: Mapping[tuple[str, str], Sequence[Summary]], orders: Sequence[str]) -> Figure:
    """A grey image with the numbers written on it, white for 1 and black for the lowest."""
    means = np.array([[one.mean for one in each] for each in cells.values()])
    figure, ax = plt.subplots(
        figsize=(2.6 + 1.4 * len(orders), 1.4 + 0.32 * len(cells)), layout="constrained"
    )
    low = min(float(means.min()), 0.9)
    image = ax.imshow(means, cmap="gray", vmin=low, vmax=1, aspect="auto", interpolation="nearest")
    for row, each in enumerate(cells.values()):
        for column, one in enumerate(each):
            ink = "black" if means[row, column] > (1 + low) / 2 else "white"
            ax.text(
                column, row, str(one).replace(" (", "\n("), ha="center", va="center", color=ink, fontsize=8
            )
    ax.set_xticks(range(len(orders)), orders)
    ax.set_yticks(
        range(len(cells)),
        [learner if trained == "-" else f"{learner}, {trained}" for learner, trained in cells],
    )
    ax.set(xlabel="order of the stream in the test", ylabel="learner, order in meta-training")
    figure.colorbar(image, ax=ax, label="accuracy")
    return figure
