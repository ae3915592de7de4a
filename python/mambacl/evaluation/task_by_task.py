"""A learner asked after each task of its streams of all tasks read so far."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from mambacl.episodes import Episode, Episodes
from mambacl.errors import DataError
from mambacl.evaluation.protocol import batches, evaluation_mode, first_state
from mambacl.evaluation.tasks import QueryTasks, query_tasks, stream_tasks
from mambacl.learner import Learner
from mambacl.state import LearnerState

Score = Callable[[LearnerState, Tensor, Tensor], Tensor]
"""From a state, its answers (batch, Q, width) and their targets to the score of each query, (batch, Q)."""


def ask_task_by_task(
    op: str, learner: Learner, source: Episodes, episodes: int, batch_size: int, score: Score
) -> Tensor:
    """The mean score on each task after each task; the learner is left as it was.

    Args:
        op: Who asks, for messages.
        learner: To ask.
        source: Of episodes whose streams go task after task.
        episodes: How many.
        batch_size: Episodes at a time.
        score: Of answers.

    Returns:
        R[i, j], the score on task j after tasks 0 to i, (tasks, tasks) float64, NaN above the diagonal; over
        the episodes that ask of task j.

    Raises:
        InvalidValueError: If `episodes` or `batch_size` is below 1.
        DataError: If a stream returns to a task it has left, tasks of one batch begin at different
            places, numbers of tasks differ, or no episode asks of some task.
        DtypeError: If the targets are vectors and tasks are not given.
    """
    matrices: list[Tensor] = []
    with evaluation_mode(learner):
        for batch in batches(op, source, episodes, batch_size):
            matrices.append(_matrices(op, learner, batch.to(learner.device), score).cpu())
            if len(matrices[-1][0]) != len(matrices[0][0]):
                raise DataError(
                    f"{op}: all episodes must have as many tasks, got {len(matrices[0][0])} and "
                    f"{len(matrices[-1][0])}"
                )
    values = torch.cat(matrices).nanmean(0)
    unasked = values[-1].isnan()
    if unasked.any():
        task = int(unasked.nonzero()[0])
        raise DataError(f"{op}: there must be queries of each task, got none of task {task} of the stream")
    return values


def _matrices(op: str, learner: Learner, episode: Episode, score: Score) -> Tensor:
    """R of each episode of a batch, (batch, tasks, tasks), NaN where there is no query."""
    lengths = _task_lengths(op, stream_tasks(episode))
    tasks = len(lengths)
    # By task, so that those to ask are a prefix; queries of no task (-1) go before and count for none.
    order, by_task = query_tasks(episode).order.sort(dim=1, stable=True)
    stream = torch.arange(episode.batch_size, device=order.device).unsqueeze(1)
    test_x, test_y = episode.test_x[stream, by_task], episode.test_y[stream, by_task]

    matrices = torch.full((episode.batch_size, tasks, tasks), torch.nan, dtype=torch.float64)
    state = first_state(learner, episode)
    parts = zip(episode.train_x.split(lengths, 1), episode.train_y.split(lengths, 1), strict=True)
    for i, (x, y) in enumerate(parts):
        state = learner.observe(state, x, y)
        asked = int((order <= i).sum(1).max())
        if asked > 0:
            scores = score(state, learner.predict(state, test_x[:, :asked]), test_y[:, :asked])
            matrices[:, i, : i + 1] = QueryTasks(order[:, :asked], i + 1).means(scores)
    return matrices


def _task_lengths(op: str, tasks: Tensor) -> list[int]:
    """The number of examples of each task of (batch, T) streams, which must go task after task, together."""
    changes = tasks[:, 1:] != tasks[:, :-1]
    for place, (stream, changed) in enumerate(zip(tasks, changes, strict=True)):
        if len(stream.unique()) != int(changed.sum()) + 1:
            raise DataError(
                f"{op}: a stream must go task after task, "
                f"got one that returns to a task it has left, episode {place} of a batch"
            )
        if not torch.equal(changed, changes[0]):
            raise DataError(
                f"{op}: tasks must begin at the same examples in all episodes of a batch, "
                f"got others in episode {place} than in episode 0; `batch_size=1` takes any"
            )
    begins = [0, *(changes[0].nonzero().flatten() + 1).tolist(), tasks.shape[1]]
    return [end - begin for begin, end in pairwise(begins)]
