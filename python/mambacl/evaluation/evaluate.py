"""One pass over episodes of unseen classes, and all that is measured in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
from torch import Tensor
from torch.nn import functional as F

from mambacl.episodes import Episode, Episodes
from mambacl.errors import InvalidValueError, NonFiniteError, ShapeError
from mambacl.evaluation.calibration import Calibration
from mambacl.evaluation.metric import ACCURACY, COSINE_ERROR, SQUARED_ERROR, Metric
from mambacl.evaluation.protocol import batches, evaluation_mode, first_state, query_losses
from mambacl.evaluation.scores import Scores
from mambacl.evaluation.tasks import query_tasks
from mambacl.learner import Learner
from mambacl.state import LearnerState


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What one trained learner does on episodes; for vector targets all is None but `loss`, `task_loss` and
    `state_bytes`.

    Attributes:
        loss: The objective, `Learner.loss` of each episode's queries; for classes the mean negative
            log-likelihood over the whole vocabulary, in nats.
        accuracy: The share of queries whose largest logit among the labels observed is right.
        vocabulary_accuracy: The share whose largest logit of the whole vocabulary is right.
        nll: Mean negative log-likelihood under the softmax over the labels observed, in nats; infinite
            where an episode asks for a label that its stream does not hold.
        task_accuracy: Accuracy of the queries of each task, by its order in the stream, as a mean over the
            episodes that ask of it (NaN if none does), (tasks,) float64.
        calibration: Of the answers among the labels observed, all queries of all episodes.
        state_bytes: The bytes that the learner keeps of one stream.
        task_loss: As `task_accuracy`, the loss; None for classes, and where tasks are not given.
    """

    loss: Scores
    accuracy: Scores | None
    vocabulary_accuracy: Scores | None
    nll: Scores | None
    task_accuracy: Tensor | None
    calibration: Calibration | None
    state_bytes: int
    task_loss: Tensor | None = None

    @property
    def score(self) -> Scores:
        """The primary score: accuracy for classes, the loss for vector targets."""
        return self.loss if self.accuracy is None else self.accuracy

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger `score` is a better one."""
        return self.accuracy is not None


def evaluate(learner: Learner, source: Episodes, episodes: int = 600, *, batch_size: int = 20) -> Evaluation:
    """Measures a learner on episodes 0, 1, ...; it is left as it was, mode included.

    Args:
        learner: To measure.
        source: Of episodes.
        episodes: How many, at least 2.
        batch_size: Episodes at a time.

    Returns:
        The measurements.

    Raises:
        InvalidValueError: If `episodes` is below 2 or `batch_size` below 1.
        NonFiniteError: If an answer of the learner holds NaN.
        ShapeError, DtypeError: If the episodes do not fit the learner.

    Examples:
        >>> from mambacl import EpisodeSource, EpisodeSpec, SequenceConfig
        >>> from mambacl.data import hanzi21
        >>> spec = EpisodeSpec(tasks=3, train_shots=1, test_shots=2)
        >>> source = EpisodeSource(hanzi21.load("validation"), spec, seed=0, split="validation")
        >>> evaluation = evaluate(Learner(SequenceConfig(d_model=16)), source, episodes=4)
        >>> evaluation.score.values.shape, evaluation.task_accuracy.shape, evaluation.calibration.total
        (torch.Size([4]), torch.Size([3]), 24)
    """
    losses: list[Tensor] = []
    parts: list[_Answers] = []
    task_losses: list[Tensor] = []
    state_bytes = 0
    with evaluation_mode(learner):
        for batch in batches("evaluate", source, episodes, batch_size, at_least=2):
            episode = batch.to(learner.device)
            state = learner.observe(first_state(learner, episode), episode.train_x, episode.train_y)
            output = learner.predict(state, episode.test_x)
            if output.isnan().any():
                raise NonFiniteError("evaluate: the learner answers with NaN")
            pairs = zip(output.split(1), episode.test_y.split(1), strict=True)
            losses += [learner.loss(one, y) for one, y in pairs]
            if state.seen is not None:
                parts.append(_answers(state, output, episode))
            elif episode.train_task is not None and episode.test_task is not None:
                task_losses.append(query_tasks(episode).means(query_losses(learner, output, episode.test_y)))
            state_bytes = state.nbytes // episode.batch_size
    loss = Scores(torch.stack(losses).double().cpu())
    if not parts:
        task_loss = _by_task(task_losses) if task_losses else None
        return Evaluation(loss, None, None, None, None, None, state_bytes, task_loss)
    return Evaluation(
        loss=loss,
        accuracy=_scores([part.accuracy for part in parts]),
        vocabulary_accuracy=_scores([part.vocabulary_accuracy for part in parts]),
        nll=_scores([part.nll for part in parts]),
        task_accuracy=_by_task([part.task_shares for part in parts]),
        calibration=reduce(add, [part.calibration for part in parts]),
        state_bytes=state_bytes,
    )


def evaluate_predictor(
    predictor: Callable[[Episode], Tensor],
    source: Episodes,
    episodes: int = 600,
    *,
    batch_size: int = 20,
    metric: Metric | None = None,
) -> Scores:
    """Scores a function from episodes to answers, such as a yardstick, on the same episodes.

    Args:
        predictor: From a batch of episodes to predicted labels, (batch, Q) int64; or vectors,
            (batch, Q, dim).
        source: Of episodes.
        episodes: How many, at least 2.
        batch_size: Episodes at a time.
        metric: `COSINE_ERROR` where vectors are directions; None for accuracy, or the squared error of
            vectors.

    Returns:
        The mean score of each episode.

    Raises:
        InvalidValueError: If `episodes` is below 2, `batch_size` below 1, or the metric is of other targets.
        ShapeError: If the predictions have not the shape of the targets.
    """
    drawn = batches("evaluate_predictor", source, episodes, batch_size, at_least=2)
    return _scores([_predicted(predictor(episode), episode.test_y, metric) for episode in drawn])


@dataclass(frozen=True, eq=False)
class _Answers:
    """What a batch of episodes with labels measured: (batch) each, and (batch, tasks)."""

    accuracy: Tensor
    vocabulary_accuracy: Tensor
    nll: Tensor
    task_shares: Tensor
    calibration: Calibration


def _answers(state: LearnerState, output: Tensor, episode: Episode) -> _Answers:
    log_probabilities = state.log_probabilities(output.double())  # (batch, Q, vocab)
    right = state.answers(output) == episode.test_y  # (batch, Q)
    wanted = log_probabilities.gather(-1, episode.test_y.unsqueeze(-1)).squeeze(-1)
    return _Answers(
        accuracy=_share(right),
        vocabulary_accuracy=_share(output.argmax(-1) == episode.test_y),
        nll=-wanted.mean(1),
        task_shares=query_tasks(episode).means(right),
        calibration=Calibration.of(log_probabilities.amax(-1).exp(), right),
    )


def _predicted(answers: Tensor, y: Tensor, metric: Metric | None) -> Tensor:
    """The score of each episode, (batch)."""
    if answers.shape != y.shape:
        raise ShapeError(
            f"evaluate_predictor: predictions must have shape {tuple(y.shape)}, as the targets, "
            f"got {tuple(answers.shape)}"
        )
    fitting = (SQUARED_ERROR, COSINE_ERROR) if y.is_floating_point() else (ACCURACY,)
    metric = metric or fitting[0]
    if metric not in fitting:
        raise InvalidValueError(
            "evaluate_predictor: argument `metric` must be one of "
            f"{', '.join(repr(one.name) for one in fitting)} for targets of {y.dtype}, got {metric.name!r}"
        )
    if metric == ACCURACY:
        return _share(answers == y)
    answers, y = answers.double(), y.double()
    if metric == COSINE_ERROR:
        return 1 - F.cosine_similarity(answers, y, dim=-1).mean(1)
    return (answers - y).square().mean((1, 2))


def _by_task(parts: list[Tensor]) -> Tensor:
    """The mean over episodes, (tasks), of (batch, tasks) each; batches may have fewer tasks than others."""
    tasks = max(part.shape[1] for part in parts)
    padded = [F.pad(part, (0, tasks - part.shape[1]), value=torch.nan) for part in parts]
    return torch.cat(padded).nanmean(0).cpu()


def _share(right: Tensor) -> Tensor:
    return right.double().mean(1)


def _scores(parts: list[Tensor]) -> Scores:
    return Scores(torch.cat(parts).double().cpu())
