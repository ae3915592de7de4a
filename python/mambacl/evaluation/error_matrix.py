"""The error matrix of a stream of tasks with vector targets."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mambacl.episodes import Episodes
from mambacl.errors import InvalidValueError
from mambacl.evaluation.matrix import AccuracyMatrix
from mambacl.evaluation.numbers import as_float64
from mambacl.evaluation.protocol import query_losses
from mambacl.evaluation.task_by_task import ask_task_by_task
from mambacl.learner import Learner

_OP = "error_matrix"


@dataclass(frozen=True, eq=False)
class ErrorMatrix:
    """R[i, j], the loss on queries of task j after tasks 0 to i have been read, as a mean over episodes; see
    `AccuracyMatrix`. Lower is better.

    Attributes:
        values: R, (tasks, tasks); NaN above the diagonal; given and kept as that of `AccuracyMatrix`.
        episodes: The number of episodes averaged over.

    Raises:
        DtypeError: If `values` are no numbers.
        ShapeError: If `values` is not square.
        InvalidValueError: If a number on or below the diagonal is NaN.

    Examples:
        >>> import torch
        >>> R = torch.tensor([[0.1, torch.nan], [0.4, 0.2]], dtype=torch.float64)
        >>> matrix = ErrorMatrix(R, episodes=1)
        >>> round(matrix.average_error(), 6), round(matrix.forgetting(), 6)
        (0.3, 0.3)
    """

    values: Tensor
    episodes: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", as_float64("ErrorMatrix", "values", self.values))
        self._negated()

    @property
    def tasks(self) -> int:
        """The number of tasks."""
        return len(self.values)

    @property
    def anytime_error(self) -> Tensor:
        """The mean error over the tasks read so far, after each task, (tasks) float64."""
        return -self._negated().anytime_accuracy

    def average_error(self) -> float:
        """The mean error over tasks after the last."""
        return self.values[-1].mean().item()

    def forgetting(self) -> float:
        """How much higher the error on a task is at the end than its lowest before the last task was read, as
        a mean over all tasks but the last: the measure of Chaudhry et al. (arXiv:1801.10112) with errors in
        the place of accuracies. NaN for a single task."""
        return self._negated().forgetting()

    def _negated(self) -> AccuracyMatrix:
        """A matrix in which higher is better."""
        return AccuracyMatrix(-self.values, self.episodes)


def error_matrix(
    learner: Learner, source: Episodes, episodes: int = 100, *, batch_size: int = 20
) -> ErrorMatrix:
    """Asks a learner after each task of its streams of all tasks read so far; it is left as it was. The last
    row is `Evaluation.task_loss`.

    Args:
        learner: To ask; it must answer with vectors.
        source: Of episodes whose streams go task after task (by `train_task`), all with as many tasks, those
            of one batch with as many examples of each.
        episodes: How many.
        batch_size: Episodes at a time.

    Returns:
        The mean matrix; R[i, j] over the episodes that ask of task j.

    Raises:
        InvalidValueError: If the learner answers with classes, `episodes` or `batch_size` is below 1.
        DataError: As `accuracy_matrix`.
        DtypeError: If tasks are not given.
    """
    if learner.is_classifier:
        raise InvalidValueError(f"{_OP}: argument `learner` must answer with vectors, got one of classes")
    values = ask_task_by_task(
        _OP, learner, source, episodes, batch_size, lambda _, output, y: query_losses(learner, output, y)
    )
    return ErrorMatrix(values, episodes)
