"""Which task of its stream a query belongs to, and what is measured of queries by task."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mambacl.episodes import Episode
from mambacl.errors import DtypeError


@dataclass(frozen=True, eq=False)
class QueryTasks:
    """The task of each query of a batch of episodes.

    Attributes:
        order: The task of each query by its order in the stream, 0 for the task that was read first;
            -1 where the stream does not hold it; (batch, Q) int64.
        tasks: The largest number of tasks of a stream.
    """

    order: Tensor
    tasks: int

    def means(self, scores: Tensor) -> Tensor:
        """The mean over the queries of each task.

        Args:
            scores: Of each query, such as whether it was answered right, (batch, Q).

        Returns:
            (batch, tasks) float64; NaN where an episode does not ask of a task.
        """
        member = self.order.unsqueeze(-1) == torch.arange(self.tasks, device=self.order.device)
        totals = torch.where(member, scores.double().unsqueeze(-1), 0.0).sum(1)  # (batch, tasks)
        return totals / member.sum(1)


def stream_tasks(episode: Episode) -> Tensor:
    """The task of each example of the stream, (batch, T) int64.

    Raises:
        DtypeError: If the targets are vectors and tasks are not given.
    """
    return _tasks("train", episode.train_y, episode.train_task)


def query_tasks(episode: Episode) -> QueryTasks:
    """The task of each query by its order in the stream.

    Raises:
        DtypeError: If the targets are vectors and tasks are not given.

    Examples:
        >>> x, task = torch.zeros(1, 4, 8), torch.tensor([[7, 7, 2, 2]])
        >>> y = torch.tensor([[0, 1, 2, 3]])
        >>> codebook = torch.arange(4)[None]
        >>> query_tasks(Episode(x, y, x, y, codebook, train_task=task, test_task=task.flip(1))).order
        tensor([[1, 1, 0, 0]])
    """
    stream = stream_tasks(episode)
    queries = _tasks("test", episode.test_y, episode.test_task)
    ordered = [_order(one, other) for one, other in zip(stream, queries, strict=True)]
    return QueryTasks(torch.stack([order for order, _ in ordered]), max(tasks for _, tasks in ordered))


def _order(stream: Tensor, queries: Tensor) -> tuple[Tensor, int]:
    """The order of each query's task in one stream, (Q) int64, and the number of tasks."""
    tasks, task = stream.unique(return_inverse=True)
    place = torch.arange(len(stream), device=stream.device)
    first = torch.full_like(tasks, len(stream)).scatter_reduce(0, task, place, "amin")
    order = first.argsort().argsort()  # of each of `tasks`
    found = torch.searchsorted(tasks, queries.contiguous()).clamp(max=len(tasks) - 1)
    return torch.where(tasks[found] == queries, order[found], -1), len(tasks)


def _tasks(part: str, y: Tensor, task: Tensor | None) -> Tensor:
    if task is None and y.dtype != torch.int64:
        raise DtypeError(
            f"evaluation: `episode.{part}_y` must hold int64 labels where `{part}_task` is None, "
            f"got {y.dtype}"
        )
    return y if task is None else task
