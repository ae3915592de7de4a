"""Evaluation on unseen classes: scores of single episodes, and what may be said of their mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mambacl.episodes import Episode, Episodes
from mambacl.errors import InvalidValueError
from mambacl.learner import Learner


@dataclass(frozen=True, eq=False)
class Scores:
    """A score of each of a number of episodes.

    Attributes:
        values: (episodes) float64; accuracies, or losses for vector targets.
    """

    values: Tensor

    @property
    def mean(self) -> float:
        """The mean over episodes."""
        return self.values.mean().item()

    @property
    def interval(self) -> float:
        """Half the width of the 95 % interval of the mean over episodes, 1.96 standard errors. It says
        how well these episodes measure this one model, and nothing of other seeds."""
        return 1.96 * (self.values.std() / len(self.values) ** 0.5).item()

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.interval:.3f}"


def evaluate(
    learner: Learner,
    source: Episodes,
    episodes: int = 600,
    *,
    batch_size: int = 20,
    whole_vocabulary: bool = False,
) -> Scores:
    """Scores a learner on episodes 0, 1, ...; it is left as it was, mode included.

    Args:
        learner: To score.
        source: Of episodes.
        episodes: How many, at least 2.
        batch_size: Episodes at a time.
        whole_vocabulary: Whether the answer is the largest logit of the whole vocabulary; by default it
            is the largest among the labels observed.

    Returns:
        Accuracy of each episode; for vector targets its mean loss.

    Raises:
        InvalidValueError: If `episodes` is below 2.
    """
    mode = learner.training
    learner.eval()
    try:
        with torch.no_grad():
            return score(
                source,
                episodes,
                lambda episode: _of(learner, episode, whole_vocabulary),
                batch_size=batch_size,
            )
    finally:
        learner.train(mode)


def evaluate_predictor(
    predictor: Callable[[Episode], Tensor], source: Episodes, episodes: int = 600, *, batch_size: int = 20
) -> Scores:
    """Scores a function from episodes to labels, such as a yardstick, on the same episodes.

    Args:
        predictor: From a batch of episodes to predicted labels, (batch, Q) int64.
        source: Of episodes.
        episodes: How many, at least 2.
        batch_size: Episodes at a time.

    Returns:
        Accuracy of each episode.

    Raises:
        InvalidValueError: If `episodes` is below 2.
    """
    return score(source, episodes, lambda episode: _right(predictor(episode), episode), batch_size=batch_size)


def score(
    source: Episodes, episodes: int, measure: Callable[[Episode], Tensor], *, batch_size: int = 20
) -> Scores:
    """Measures episodes 0 to `episodes - 1`; `measure` gives one number for each of a batch."""
    if episodes < 2:
        raise InvalidValueError(f"evaluate: argument `episodes` must be at least 2, got {episodes}")
    firsts = range(0, episodes, batch_size)
    parts = [measure(source.batch(first, min(batch_size, episodes - first))) for first in firsts]
    return Scores(torch.cat(parts).double().cpu())


def _of(learner: Learner, episode: Episode, whole_vocabulary: bool) -> Tensor:
    episode = episode.to(learner.device)
    state = learner.init_state(
        episode.batch_size, codebook=episode.codebook if episode.codebook.numel() else None
    )
    state = learner.observe(state, episode.train_x, episode.train_y)
    output = learner.predict(state, episode.test_x)
    if state.seen is None:
        losses = [learner.loss(output[i : i + 1], episode.test_y[i : i + 1]) for i in range(len(output))]
        return torch.stack(losses)
    if not whole_vocabulary:
        output = output.masked_fill(~state.seen.unsqueeze(1), -torch.inf)
    return _right(output.argmax(-1), episode)


def _right(predictions: Tensor, episode: Episode) -> Tensor:
    return (predictions == episode.test_y).double().mean(1)
