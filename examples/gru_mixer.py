"""PyTorch's own GRU as the mixer of MambaCL, meta-trained on episodes of Gaussian classes in a few seconds.

python examples/gru_mixer.py
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from mambacl import ClassTarget, Episode, SequenceConfig, VectorEncoder
from mambacl.reference import LayerState, ReferenceLearner

CONFIG = SequenceConfig(VectorEncoder(dim=4), ClassTarget(vocab=6), d_model=32, selectivity=None)


class GruMixer(nn.Module):
    """A GRU. It has no keys and queries, so the regulariser must be off: `selectivity=None`."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.gru = nn.GRU(d_model, d_model, batch_first=True)

    def init_state(self, batch_size: int) -> LayerState:
        """One tensor, (batch, d_model)."""
        return (self.gru.weight_hh_l0.new_zeros(batch_size, self.gru.hidden_size),)

    def forward(self, tokens: Tensor, state: LayerState) -> tuple[Tensor, LayerState, None]:
        """Reads tokens, (batch, length, d_model). PyTorch's hidden state has the batch second."""
        mixed, hidden = self.gru(tokens, state[0].unsqueeze(0))
        return mixed, (hidden.squeeze(0),), None


def episodes(seed: int, batch: int = 32, classes: int = 2, shots: int = 2) -> Episode:
    """Classes are random points. `shots` examples of each are the stream, and as many are the queries."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(batch, classes, 1, 4, generator=generator)
    x = centres + 0.1 * torch.randn(batch, classes, 2 * shots, 4, generator=generator)
    stream, queries = (part.flatten(1, 2) for part in x.split(shots, 2))
    labels = torch.arange(classes).repeat_interleave(shots).repeat(batch, 1)
    codebook = torch.rand(batch, 6, generator=generator).argsort(1)
    return Episode(stream, labels, queries, labels, codebook)


def meta_train(learner: ReferenceLearner, steps: int) -> Iterator[float]:
    """Trains a learner on new episodes and yields the loss of each step."""
    optimizer = torch.optim.Adam(learner.parameters(), lr=1e-2)
    for step in range(steps):
        loss, _ = learner(episodes(seed=step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item()


def report(learner: ReferenceLearner, steps: int = 300) -> None:
    """Prints the loss as it falls, and the accuracy on episodes with new classes."""
    for step, loss in enumerate(meta_train(learner, steps)):
        if step % 50 == 0:
            print(f"step {step:3}: loss {loss:.3f}")
    test = episodes(seed=1_000_000)
    with torch.no_grad():
        _, logits = learner.eval()(test)
    print(f"accuracy on new classes: {(logits.argmax(-1) == test.test_y).float().mean():.3f}")


if __name__ == "__main__":
    torch.manual_seed(0)
    report(ReferenceLearner(CONFIG, GruMixer))
