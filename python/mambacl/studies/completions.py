"""Pictures of completions: what was given, what was asked for, and what was answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from mambacl.episodes import Episode, SizedEpisodes
from mambacl.experiments.data.completion import HALF
from mambacl.settings import Settings

_LEVELS = 15
_GAP = 4
"""Pixels between pictures."""


@dataclass(frozen=True)
class Completed(Settings):
    """One answer. A picture is a string for each row, a hexadecimal digit for each pixel: "0" for what is at
    or below -1 (background), "f" for what is at or above 1 (ink).

    Attributes:
        given: The top half.
        wanted: The bottom half that there is.
        answered: The bottom half that was answered.
    """

    given: tuple[str, ...]
    wanted: tuple[str, ...]
    answered: tuple[str, ...]


def completed(predictor: Callable[[Episode], Tensor], source: SizedEpisodes) -> tuple[Completed, ...]:
    """The answers to the first query of each task of the first episode.

    Args:
        predictor: From a batch of episodes to answers, (batch, Q, pixels of a half).
        source: Of episodes of completion.
    """
    episode = source.batch(0, 1)
    answers = predictor(episode)
    shots = source.spec.test_shots
    return tuple(
        Completed(*(_digits(half[0, query]) for half in (episode.test_x, episode.test_y, answers)))
        for query in range(0, source.spec.tasks * shots, shots)
    )


def draw_completions(answers: Mapping[str, Sequence[Completed]]) -> Figure:
    """A row of characters for each that answered, below the true ones; a line parts what was given from what
    was answered.

    Args:
        answers: To the same queries, by who answered.
    """
    first = next(iter(answers.values()))
    rows = {"the characters": [(one.given, one.wanted) for one in first]}
    rows |= {name: [(one.given, one.answered) for one in each] for name, each in answers.items()}
    height, width = 2 * HALF[0], HALF[1]
    canvas = np.zeros((len(rows) * (height + _GAP), len(first) * (width + _GAP)))
    for row, halves in enumerate(rows.values()):
        for column, (top, bottom) in enumerate(halves):
            y, x = row * (height + _GAP), column * (width + _GAP)
            canvas[y : y + height, x : x + width] = np.concatenate([_pixels(top), _pixels(bottom)])
    figure, ax = plt.subplots(figsize=(2.5 + 0.7 * len(first), 0.3 + 0.7 * len(rows)), layout="constrained")
    ax.imshow(canvas, cmap="gray_r", interpolation="nearest", vmin=0, vmax=_LEVELS)
    for row in range(len(rows)):
        for column in range(len(first)):
            x = column * (width + _GAP) - 0.5
            y = row * (height + _GAP) + HALF[0] - 0.5
            ax.plot([x, x + width], [y, y], ":", color="black", linewidth=0.8)
    ax.set_yticks([row * (height + _GAP) + height / 2 for row in range(len(rows))], list(rows))
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.set(title="top halves given, bottom halves answered", frame_on=False)
    return figure


def _digits(half: Tensor) -> tuple[str, ...]:
    """Rows of digits of the pixels of a half, (pixels)."""
    levels = ((half.double().clamp(-1, 1) + 1) / 2 * _LEVELS).round().long().view(HALF)
    return tuple("".join(f"{level:x}" for level in row) for row in levels.tolist())


def _pixels(rows: Sequence[str]) -> npt.NDArray[np.float64]:
    return np.array([[int(digit, 16) for digit in row] for row in rows], dtype=np.float64)
