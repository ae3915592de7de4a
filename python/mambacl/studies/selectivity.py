"""Selectivity maps: what queries are associated with, in layers that the regulariser guided or did not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from mambacl import plots
from mambacl.episodes import Episode
from mambacl.evaluation import Scores, associations, own_class
from mambacl.experiments.trained import Trained
from mambacl.report.markdown import table
from mambacl.settings import Settings
from mambacl.studies.scale import Scale
from mambacl.studies.study import Report, Study, Told, answers_by_learner
from mambacl.studies.summary import SPREAD, Summary

_LEARNERS = ("mamba", "mamba-unguided", "transformer", "transformer-unguided")

_QUERIES_DRAWN = 2
"""Of each task, in the maps."""


@dataclass(frozen=True)
class LayerMap(Settings):
    """What queries are associated with in one layer, as a mean over its heads.

    Attributes:
        own: The association with all tokens of the examples of the query's own class, a mean over queries and
            episodes; without any preference it is 1 / tasks.
        interval: Half its 95 % interval over episodes.
        own_labels: The part of it that is on the tokens of their labels.
        strongest: Of the head with the largest `own`.
        following: The association with the first token after those of the own class, which is another's
            input, over queries whose class is not the last of the stream. A convolution has seen the last
            label of the own class there.
        rows: Of the first episode: for the first queries of each task, the association with each token.
    """

    own: float
    interval: float
    own_labels: float
    strongest: float
    following: float
    rows: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Maps(Settings):
    """What the queries of a learner are associated with.

    Attributes:
        tasks: Of an episode.
        layers: From the first.
    """

    tasks: int
    layers: tuple[LayerMap, ...]

    @classmethod
    def of(cls, found: Sequence[Tensor], episode: Episode) -> Maps:
        """From associations.

        Args:
            found: Of each layer, (batch, heads, Q, 2 T), rows that sum to 1.
            episode: Of several episodes of classes, queries task after task.
        """
        tasks = len(episode.test_y[0].unique())
        own = own_class(episode).unsqueeze(1)  # (batch, 1, Q, 2 T)
        return cls(tasks, tuple(_layer(layer, own, tasks) for layer in found))


class SelectivityMaps(Study[Maps]):
    """Study 9."""

    name = "selectivity"
    question = (
        "Which tokens of the stream is a query associated with, layer by layer, when the regulariser guided "
        "the last layer in meta-training, and when it did not? Mamba (softmax of C . B) and the Transformer "
        "(its attention), frozen features of unseen characters, 5 tasks x 5 shots."
    )
    reported = (
        "The regulariser is said to pull the association of a query to the examples of its own class, in "
        "meta-training only (reported). Its maps are not known to us."
    )
    sweeps = ("sequence-learners",)
    answer = Maps

    def asks(self, sweep: str, learner: str) -> bool:
        """Two architectures, guided and not."""
        return learner in _LEARNERS

    def ask(self, trained: Trained, scale: Scale) -> Maps:
        """Over all episodes at once, whose statistics the encoder normalises with."""
        episode = trained.experiment.source("test").batch(0, scale.episodes)
        return Maps.of(associations(trained.learner, episode), episode)

    def report(self, told: Sequence[Told[Maps]]) -> Report:
        """A row of maps for each learner, of its first seed; a table of what the own class has."""
        seeds = answers_by_learner(told)
        tasks = told[0].answer.tasks
        caption = (
            "Association of queries with the tokens of their own class, mean over heads, queries and "
            f"episodes; without any preference it is {1 / tasks:.2f}. {SPREAD} Of label tokens: the "
            "part that is on labels. Strongest head: where there are several, that with the most. Next "
            "token: the association with the first token after the own class, by which the convolution has "
            "seen its last label. The regulariser guides the last layer."
        )
        headings = ("learner", "layer", "own class", "of label tokens", "strongest head", "next token")
        rows = [row for name, each in seeds.items() for row in _rows(name, each)]
        return Report(
            {"maps": _draw({name: each[0] for name, each in seeds.items()})}, {caption: table(headings, rows)}
        )


def _layer(found: Tensor, own: Tensor, tasks: int) -> LayerMap:
    """Of associations (batch, heads, Q, 2 T) and what belongs to the own class (batch, 1, Q, 2 T)."""
    matching = torch.where(own, found.double(), 0.0)
    heads = matching.sum(-1).mean((0, 2))
    episodes = Scores(matching.sum(-1).mean((1, 2)))
    queries = found.shape[2]
    each = queries // tasks  # of a task
    drawn = [query for query in range(queries) if query % each < _QUERIES_DRAWN]
    return LayerMap(
        own=round(episodes.mean, 4),
        interval=round(episodes.interval, 4),
        own_labels=round(matching[..., 1::2].sum(-1).mean().item(), 4),
        strongest=round(heads.max().item(), 4),
        following=round(_following(found.double(), own), 4),
        rows=tuple(tuple(round(value, 4) for value in row) for row in found[0].mean(0)[drawn].tolist()),
    )


def _following(found: Tensor, own: Tensor) -> float:
    """The association with the first token after those of the own class."""
    after = own.roll(1, -1) & ~own
    after[..., 0] = False  # what comes before the stream's first token is not its last
    exists = after.any(-1).expand(found.shape[:-1])
    return torch.where(after, found, 0.0).sum(-1)[exists].mean().item()


def _rows(name: str, seeds: Sequence[Maps]) -> list[list[str]]:
    return [
        [
            name,
            f"{number} of {len(seeds[0].layers)}",
            str(Summary.of([(layer.own, layer.interval) for layer in layers])),
            f"{np.mean([layer.own_labels for layer in layers]):.3f}",
            f"{np.mean([layer.strongest for layer in layers]):.3f}",
            f"{np.mean([layer.following for layer in layers]):.3f}",
        ]
        for number, layers in enumerate(zip(*(one.layers for one in seeds), strict=True), start=1)
    ]


def _draw(maps: dict[str, Maps]) -> Figure:
    """Learners below one another, layers beside one another."""
    columns = max(len(one.layers) for one in maps.values())
    figure, axes = plt.subplots(
        len(maps), columns, figsize=(5.2 * columns, 2.3 * len(maps)), squeeze=False, layout="constrained"
    )
    for row, (name, one) in enumerate(maps.items()):
        for column, ax in enumerate(axes[row]):
            if column >= len(one.layers):
                ax.set_axis_off()
                continue
            layer = one.layers[column]
            tokens = len(layer.rows[0])
            plots.association_map(
                torch.tensor(layer.rows), ax, boundaries=range(0, tokens, tokens // one.tasks)
            )
            ax.set(title=f"{name}, layer {column + 1}: own class {layer.own:.2f}", ylabel="queries by task")
            if row < len(maps) - 1:
                ax.set(xlabel="")
    return figure
