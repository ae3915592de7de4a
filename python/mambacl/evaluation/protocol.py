"""How a learner is asked: in evaluation mode, without gradients, on episodes 0, 1, ... in batches."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from mambacl.episodes import Episode, Episodes
from mambacl.errors import InvalidValueError
from mambacl.learner import Learner
from mambacl.state import LearnerState


@contextmanager
def evaluation_mode(learner: Learner) -> Generator[None, None, None]:
    """Within, the learner is in evaluation mode and nothing is recorded for gradients; after, each of its
    modules is in the mode it was in."""
    modes = [(module, module.training) for module in learner.modules()]
    learner.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def batches(
    op: str, source: Episodes, episodes: int, batch_size: int, *, at_least: int = 1
) -> Iterator[Episode]:
    """Episodes 0 to `episodes - 1`, at most `batch_size` at a time.

    Args:
        op: Who asks, for the message.
        source: Of episodes.
        episodes: How many.
        batch_size: Episodes at a time.
        at_least: The fewest episodes that make sense.

    Returns:
        The batches, drawn as they are asked for.

    Raises:
        InvalidValueError: At once, if `episodes` is below `at_least` or `batch_size` below 1.
    """
    for name, value, least in (("episodes", episodes, at_least), ("batch_size", batch_size, 1)):
        if value < least:
            raise InvalidValueError(f"{op}: argument `{name}` must be at least {least}, got {value}")
    firsts = range(0, episodes, batch_size)
    return (source.batch(first, min(batch_size, episodes - first)) for first in firsts)


def first_state(learner: Learner, episode: Episode) -> LearnerState:
    """The state before the stream of a batch of episodes, with their codebooks if they have any."""
    codebook = episode.codebook if learner.is_classifier else None
    return learner.init_state(episode.batch_size, codebook=codebook)


def query_losses(learner: Learner, output: Tensor, y: Tensor) -> Tensor:
    """The learner's loss of each query, (batch, Q).

    Args:
        learner: Whose objective is asked for.
        output: Of `predict`, (batch, Q, width).
        y: Targets, (batch, Q, dim).
    """
    pairs = zip(output.flatten(0, 1), y.flatten(0, 1), strict=True)
    losses = [learner.loss(one.view(1, 1, -1), target.view(1, 1, -1)) for one, target in pairs]
    return torch.stack(losses).view(output.shape[:2])
