"""The accuracy matrix of a stream of tasks: what is known of each task after each task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from mambacl.episodes import Episodes
from mambacl.errors import InvalidValueError, ShapeError
from mambacl.evaluation.numbers import as_float64
from mambacl.evaluation.task_by_task import ask_task_by_task
from mambacl.learner import Learner
from mambacl.state import LearnerState

_OP = "accuracy_matrix"

Reference = Literal["earlier_best", "best", "first"]
"""The accuracy on a task that its last one is compared with; see `AccuracyMatrix.forgetting`."""


@dataclass(frozen=True, eq=False)
class AccuracyMatrix:
    """R[i, j], the accuracy on queries of task j after tasks 0 to i have been read, as a mean over episodes.

    All numbers are taken of this mean matrix: the largest of several noisy accuracies is too large on
    average, so forgetting taken episode by episode, which looks for a largest one, would be biased upwards.
    For the same reason compare forgetting between matrices of as many episodes. What lies above the
    diagonal is not looked at.

    Attributes:
        values: R, (tasks, tasks); NaN above the diagonal. It may be given as a tensor, an array or lists of
            any real dtype, and is kept as a tensor of float64 on the CPU.
        episodes: The number of episodes averaged over.

    Raises:
        DtypeError: If `values` are no numbers.
        ShapeError: If `values` is not square.
        InvalidValueError: If a number on or below the diagonal is NaN.

    Examples:
        >>> nan = torch.nan
        >>> R = torch.tensor([[0.9, nan, nan], [1.0, 0.8, nan], [0.6, 0.7, 0.8]], dtype=torch.float64)
        >>> matrix = AccuracyMatrix(R, episodes=1)
        >>> round(matrix.average_accuracy(), 6), round(matrix.backward_transfer(), 6)
        (0.7, -0.2)
        >>> round(matrix.forgetting(), 6), round(matrix.forgetting("first"), 6)
        (0.25, 0.2)
    """

    values: Tensor
    episodes: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", as_float64("AccuracyMatrix", "values", self.values))
        if self.values.ndim != 2 or self.values.shape[0] != self.values.shape[1] or self.tasks == 0:
            raise ShapeError(
                f"AccuracyMatrix: `values` must have shape (tasks, tasks), got {tuple(self.values.shape)}"
            )
        if self.values.tril().isnan().any():
            raise InvalidValueError("AccuracyMatrix: `values` must be numbers up to the diagonal, got NaN")

    @property
    def tasks(self) -> int:
        """The number of tasks."""
        return len(self.values)

    @property
    def diagonal(self) -> Tensor:
        """The accuracy on each task right after it was read, (tasks) float64."""
        return self.values.diagonal()

    @property
    def anytime_accuracy(self) -> Tensor:
        """The mean accuracy over the tasks read so far, after each task, (tasks) float64. Its mean is the
        average incremental accuracy of iCaRL (Rebuffi et al., arXiv:1611.07725)."""
        return torch.stack([row[: i + 1].mean() for i, row in enumerate(self.values)])

    def average_accuracy(self) -> float:
        """The mean accuracy over tasks after the last: ACC of Lopez-Paz & Ranzato (arXiv:1706.08840)."""
        return self.values[-1].mean().item()

    def backward_transfer(self) -> float:
        """How much the accuracy on a task changed from right after it was read to the end, as a mean over all
        tasks but the last: BWT of Lopez-Paz & Ranzato (arXiv:1706.08840). Negative where tasks read later
        did harm; NaN for a single task."""
        return (self.values[-1] - self.diagonal)[:-1].mean().item()

    def forgetting(self, reference: Reference = "earlier_best") -> float:
        """How much lower the accuracy on a task is at the end than once before, as a mean over all tasks
        but the last; NaN for a single task. The literature has three measures of this one name, which differ
        in the accuracy that the last one is compared with:

        - "earlier_best": the best before the last task was read, as in Chaudhry et al. (arXiv:1801.10112).
          Negative where the last task helped.
        - "best": the best of all, the last included, as in the library Mammoth; never negative.
        - "first": the one right after the task was read, as in the library Avalanche: the negative
          backward transfer.

        Args:
            reference: Which accuracy.

        Returns:
            The mean difference.

        Raises:
            InvalidValueError: If there is no such reference.
        """
        if reference not in get_args(Reference):
            known = ", ".join(repr(name) for name in get_args(Reference))
            raise InvalidValueError(
                f"forgetting: argument `reference` must be one of {known}, got {reference!r}"
            )
        if self.tasks == 1:
            return torch.nan
        if reference == "first":
            return -self.backward_transfer()
        above = torch.ones_like(self.values, dtype=torch.bool).triu(1)
        rows = self.values.masked_fill(above, -torch.inf)[:, :-1]  # of tasks that others followed
        compared = rows if reference == "best" else rows[:-1]
        return (compared.amax(0) - rows[-1]).mean().item()


def accuracy_matrix(
    learner: Learner, source: Episodes, episodes: int = 100, *, batch_size: int = 20
) -> AccuracyMatrix:
    """Asks a learner after each task of its streams of all tasks read so far; it is left as it was.

    Each example is read once: a state is a value, so asking does not disturb the stream. Answers are the
    largest logit among the labels observed so far. The last row is `Evaluation.task_accuracy`.

    Args:
        learner: To ask; it must answer with classes.
        source: Of episodes whose streams go task after task (by `train_task`, or `train_y` where that is
            None), all with as many tasks, those of one batch with as many examples of each.
        episodes: How many.
        batch_size: Episodes at a time.

    Returns:
        The mean matrix; R[i, j] over the episodes that ask of task j.

    Raises:
        InvalidValueError: If the learner answers with vectors, `episodes` or `batch_size` is below 1.
        DataError: If a stream returns to a task it has left, tasks of one batch begin at different
            places, numbers of tasks differ, or no episode asks of some task.
        DtypeError: If the targets are vectors and tasks are not given.

    Examples:
        >>> from mambacl import EpisodeSource, EpisodeSpec, SequenceConfig
        >>> from mambacl.data import hanzi21
        >>> spec = EpisodeSpec(tasks=3, train_shots=1, test_shots=2)
        >>> source = EpisodeSource(hanzi21.load("validation"), spec, seed=0, split="validation")
        >>> matrix = accuracy_matrix(Learner(SequenceConfig(d_model=16)), source, episodes=4)
        >>> matrix.values[0]  # of the one label observed it can only answer with that
        tensor([1., nan, nan], dtype=torch.float64)
    """
    if not learner.is_classifier:
        got = type(learner.config.target).__name__
        raise InvalidValueError(f"{_OP}: argument `learner` must answer with classes, got one of {got}")
    values = ask_task_by_task(_OP, learner, source, episodes, batch_size, _right)
    return AccuracyMatrix(values, episodes)


def _right(state: LearnerState, output: Tensor, y: Tensor) -> Tensor:
    return state.answers(output) == y
