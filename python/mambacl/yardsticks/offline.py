"""Offline training: the learner's encoder trained anew on all of a stream at once, as often as it takes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mambacl.config import ClassTarget, Encoder, PrototypeConfig
from mambacl.episodes import Episode
from mambacl.errors import DtypeError
from mambacl.layer_state import LayerState
from mambacl.learner import Learner

_SETTLING = 50
"""Readings after training, in which running statistics come to those of the stream: by .9 each time."""


@dataclass(frozen=True)
class Offline:
    """Trains an encoder with a linear classifier from scratch on each episode's stream, all of it in each
    step, by Adam on the cross-entropy, until that is low; then answers the queries. It sees the stream again
    and again, which no continual learner may, and knows nothing of other episodes.

    The first values are the same for each episode, so that answers are a function of the episode. It takes
    seconds an episode.

    Attributes:
        encoder: The architecture.
        d_model: Numbers in an encoded input.
        lr: Learning rate.
        converged: Cross-entropy on the stream to stop at, in nats.
        max_steps: Steps to stop after at the latest.
        seed: Of the encoder's first values; the classifier's are 0.

    Examples:
        >>> from mambacl import VectorEncoder
        >>> x, y = torch.tensor([[[0.0], [1.0], [8.0], [9.0]]]), torch.tensor([[0, 0, 1, 1]])
        >>> Offline(VectorEncoder(1), d_model=8)(Episode(x, y, x, y, codebook=torch.arange(2)[None]))
        tensor([[0, 0, 1, 1]])
    """

    encoder: Encoder
    d_model: int
    lr: float = 3e-3
    converged: float = 0.01
    max_steps: int = 300
    seed: int = 0

    def __call__(self, episode: Episode) -> Tensor:
        """Answers queries.

        Args:
            episode: Episodes with labels.

        Returns:
            Predicted labels, (batch, Q) int64; never one that its stream does not hold.

        Raises:
            DtypeError: If the targets are vectors.
        """
        if episode.train_y.dtype != torch.int64:
            raise DtypeError(
                f"yardsticks: `episode.train_y` must hold int64 labels, got {episode.train_y.dtype}"
            )
        streams = zip(episode.train_x, episode.train_y, episode.test_x, strict=True)
        return torch.stack([self._answers(*stream) for stream in streams])

    def _answers(self, train_x: Tensor, train_y: Tensor, test_x: Tensor) -> Tensor:
        labels, y = train_y.unique(return_inverse=True)
        encoder = _Encoder(self, max(len(train_x), len(test_x)), train_x.device)
        head = (
            nn.Parameter(torch.zeros(len(labels), self.d_model, device=train_x.device)),
            nn.Parameter(torch.zeros(len(labels), device=train_x.device)),
        )  # not `nn.Linear`, which draws numbers of torch's own generator first
        optimiser = torch.optim.Adam([*encoder.learner.parameters(), *head], lr=self.lr)
        with torch.enable_grad():
            for _ in range(self.max_steps):
                optimiser.zero_grad()
                loss = nn.functional.cross_entropy(
                    nn.functional.linear(encoder.trained_on(train_x), *head), y
                )
                if loss.item() <= self.converged:
                    break
                loss.backward()
                optimiser.step()
        with torch.no_grad():
            for _ in range(_SETTLING):
                encoder.trained_on(train_x)
            return labels[nn.functional.linear(encoder.of_queries(test_x), *head).argmax(-1)]


class _Encoder:
    """The engine's own encoder, read off a prototypical network: of a class with one example the mean is that
    example's code."""

    def __init__(self, settings: Offline, examples: int, device: torch.device) -> None:
        target = ClassTarget(vocab=examples)
        with torch.device("cpu"):
            learner = Learner(PrototypeConfig(settings.encoder, target, settings.d_model), seed=settings.seed)
        self.learner = learner.to(device)
        self._symbols = torch.arange(examples, device=device)[None]

    def trained_on(self, x: Tensor) -> Tensor:
        """The codes of a stream, (n, d_model), normalised with its own statistics, which become the running
        ones; to be differentiated."""
        state = self.learner.init_state(codebook=self._symbols)
        after, _ = self.learner.observe_traced(state, x[None], self._symbols[:, : len(x)])
        return self._codes(after.layers[0], len(x))

    def of_queries(self, x: Tensor) -> Tensor:
        """The codes of queries, (n, d_model), each alone."""
        state = self.learner.init_state(codebook=self._symbols)
        after = self.learner.observe(state, x[None], self._symbols[:, : len(x)])
        return self._codes(after.layers[0], len(x))

    def _codes(self, layer: LayerState, examples: int) -> Tensor:
        return layer.means[0, :examples]
