"""Forgetting: what is left of each task of a long stream as others follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from mambacl.evaluation import AccuracyMatrix, accuracy_matrix
from mambacl.experiments.trained import Trained
from mambacl.plots.lines import draw_seeds
from mambacl.report.markdown import table
from mambacl.settings import Settings
from mambacl.studies.scale import Scale
from mambacl.studies.sequence_learners import SEQUENCE, UNGUIDED
from mambacl.studies.study import Report, Study, Told, answers_by_learner

_TASKS = 100
_TASKS_TO_TRY = 20

_ROWS = 10
"""Of R that an answer keeps; between them little changes."""

_BLOCK = 5
"""Neighbouring tasks whose mean is drawn: of each alone there are few queries."""

_IMAGES = ("mamba", "transformer", "gated-delta-net", "oml")


@dataclass(frozen=True)
class StreamMatrix(Settings):
    """R[i, j], the accuracy on task j after tasks 0 to i of a stream, thinned, and what comes of all of it.

    Attributes:
        episodes: It is a mean over.
        after: Numbers of tasks after which a row is kept, the last one all.
        rows: Of these; each ends at the diagonal.
        diagonal: The accuracy on each task right after it was read.
        anytime: The mean accuracy over the tasks read so far, after each task.
        forgetting: By what the last accuracy is compared with: the best before the last task
            (arXiv:1801.10112).
        forgetting_best: The best of all, the last included (Mammoth).
        forgetting_first: The one right after the task was read (Avalanche); the negative backward transfer.
    """

    episodes: int
    after: tuple[int, ...]
    rows: tuple[tuple[float, ...], ...]
    diagonal: tuple[float, ...]
    anytime: tuple[float, ...]
    forgetting: float
    forgetting_best: float
    forgetting_first: float

    @classmethod
    def of(cls, matrix: AccuracyMatrix) -> StreamMatrix:
        """From the whole matrix, of at least two tasks."""
        tasks = matrix.tasks
        count = min(_ROWS, tasks)
        after = tuple(round(tasks * (row + 1) / count) for row in range(count))
        return cls(
            episodes=matrix.episodes,
            after=after,
            rows=tuple(_rounded(matrix.values[number - 1, :number]) for number in after),
            diagonal=_rounded(matrix.diagonal),
            anytime=_rounded(matrix.anytime_accuracy),
            forgetting=round(matrix.forgetting("earlier_best"), 4),
            forgetting_best=round(matrix.forgetting("best"), 4),
            forgetting_first=round(matrix.forgetting("first"), 4),
        )

    @property
    def last(self) -> tuple[float, ...]:
        """The accuracy on each task at the end."""
        return self.rows[-1]


class Forgetting(Study[StreamMatrix]):
    """Study 6."""

    name = "forgetting"
    question = (
        f"Of a stream of {_TASKS} tasks, what does a learner still know of each task as others follow? "
        "Trained on streams of 5 tasks. Frozen features of unseen characters, 5 shots; asked after every "
        "task of all tasks read so far. Learners that have a regulariser were trained with it."
    )
    reported = "Nothing known to us of R or of forgetting."
    sweeps = ("sequence-learners",)
    answer = StreamMatrix

    def asks(self, sweep: str, learner: str) -> bool:
        """Not those that were trained without the regulariser."""
        return not learner.endswith(UNGUIDED)

    def ask(self, trained: Trained, scale: Scale) -> StreamMatrix:
        """R over a tenth of the episodes: each is asked as often as it has tasks."""
        source = trained.experiment.source("test", tasks=_TASKS_TO_TRY if scale.fast else _TASKS)
        matrix = accuracy_matrix(trained.learner, source, max(2, scale.episodes // 10), batch_size=5)
        return StreamMatrix.of(matrix)

    def report(self, told: Sequence[Told[StreamMatrix]]) -> Report:
        """Accuracy by position at the end, accuracy as the stream goes, R of some; a table of all."""
        seeds = answers_by_learner(told)
        positions = _two_panels(
            {name: [_blocks(one.last) for one in each] for name, each in seeds.items()},
            xlabel="position of the task in the stream",
            ylabel=f"accuracy at the end, mean of {_BLOCK} tasks",
        )
        anytime = _two_panels(
            {name: [_whole(one.anytime) for one in each] for name, each in seeds.items()},
            xlabel="tasks read",
            ylabel="mean accuracy over these tasks",
        )
        images = _images({name: seeds[name][0] for name in _IMAGES if name in seeds} or _first(seeds))
        return Report(
            {"positions": positions, "anytime": anytime, "matrices": images},
            {_caption(told[0].answer): _table(seeds)},
        )


_Along = tuple[list[float], list[float]]
"""Places in the stream, and a number at each."""


def _blocks(values: Sequence[float]) -> _Along:
    """Means of neighbouring tasks, at the middle of each block; tasks count from 1."""
    firsts = range(0, len(values), _BLOCK)
    blocks = [values[first : first + _BLOCK] for first in firsts]
    middles = [first + (len(block) + 1) / 2 for first, block in zip(firsts, blocks, strict=True)]
    return middles, [float(np.mean(block)) for block in blocks]


def _whole(values: Sequence[float]) -> _Along:
    return [float(number) for number in range(1, len(values) + 1)], list(values)


def _two_panels(curves: Mapping[str, Sequence[_Along]], *, xlabel: str, ylabel: str) -> Figure:
    """Sequence learners, and others; seeds as bands from the lowest to the highest."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True)
    parts = {
        "sequence learners": {name: each for name, each in curves.items() if name in SEQUENCE},
        "other learners": {name: each for name, each in curves.items() if name not in SEQUENCE},
    }
    for ax, (title, part) in zip(axes, parts.items(), strict=True):
        for number, (name, each) in enumerate(part.items()):
            draw_seeds(ax, each[0][0], [values for _, values in each], label=name, style=number)
        ax.set(title=title, xlabel=xlabel, ylabel=ylabel, ylim=(0, 1.02))
        ax.grid(alpha=0.3)
        if part:
            ax.legend(fontsize=7)
    figure.tight_layout()
    return figure


def _images(matrices: Mapping[str, StreamMatrix]) -> Figure:
    """R as grey images, black for 0 and white for 1, hatched where a task has not been read yet."""
    figure, axes = plt.subplots(1, len(matrices), figsize=(3.1 * len(matrices) + 0.8, 3.4), sharey=True)
    each = np.atleast_1d(axes)
    for ax, (name, matrix) in zip(each, matrices.items(), strict=True):
        tasks, step = matrix.after[-1], matrix.after[0]
        shown = np.full((len(matrix.rows), tasks), np.nan)
        for row, values in enumerate(matrix.rows):
            shown[row, : len(values)] = values
        ax.patch.set(hatch="///", edgecolor="0.7")
        ax.imshow(
            np.ma.masked_invalid(shown),
            cmap="gray",
            vmin=0,
            vmax=1,
            aspect="auto",
            interpolation="nearest",
            extent=(0.5, tasks + 0.5, tasks + step / 2, step / 2),
        )
        ax.set(title=name, xlabel="task asked of")
        ax.set_yticks(matrix.after)
    each[0].set(ylabel="tasks read")
    figure.colorbar(each[0].images[0], ax=axes, label="accuracy")
    return figure


def _first(seeds: Mapping[str, Sequence[StreamMatrix]]) -> dict[str, StreamMatrix]:
    return {name: each[0] for name, each in list(seeds.items())[: len(_IMAGES)]}


def _caption(matrix: StreamMatrix) -> str:
    return (
        f"Over {matrix.episodes} streams of {matrix.after[-1]} tasks; of several seeds the mean, from the "
        "lowest to the highest. Forgetting in its three meanings: the best accuracy before the last task "
        "(arXiv:1801.10112), the best of all (Mammoth) and that right after the task (Avalanche, the "
        "negative backward transfer), each less the one at the end. The first two take the largest of "
        "noisy accuracies: compare them among these learners only."
    )


def _table(seeds: Mapping[str, Sequence[StreamMatrix]]) -> str:
    headings = (
        "learner",
        "right after reading",
        "mean as it goes",
        "at the end",
        "forgetting",
        "of the best",
        "of the first",
    )
    rows = [
        [
            name,
            _range([float(np.mean(one.diagonal)) for one in each]),
            _range([float(np.mean(one.anytime)) for one in each]),
            _range([one.anytime[-1] for one in each]),
            _range([one.forgetting for one in each]),
            _range([one.forgetting_best for one in each]),
            _range([one.forgetting_first for one in each]),
        ]
        for name, each in seeds.items()
    ]
    return table(headings, rows)


def _range(values: Sequence[float]) -> str:
    behind = f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{behind}"


def _rounded(values: Tensor) -> tuple[float, ...]:
    return tuple(round(value, 4) for value in values.tolist())
