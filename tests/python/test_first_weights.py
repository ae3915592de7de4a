"""What the package's learners can do before any training."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from mambacl import ClassTarget, Learner, Mamba2Mixer, PrototypeConfig, SequenceConfig, VectorEncoder
from mambacl.errors import InvalidValueError
from mambacl.streams.pretraining.first_weights import class_means, counted_associations

DIM, VOCAB, TASKS = 32, 16, 8

MAMBA = SequenceConfig(
    VectorEncoder(DIM),
    ClassTarget(VOCAB),
    d_model=64,
    mixer=Mamba2Mixer(d_state=DIM, expand=1, headdim=VOCAB),
    selectivity=None,
)
PROTOTYPE = PrototypeConfig(VectorEncoder(DIM, hidden=(80,)), ClassTarget(VOCAB), d_model=DIM)


def gaussians(
    counts: list[int], seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """A stream sorted by class and ten queries of each, with their labels."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(len(counts), DIM, generator=generator)
    y, asked = (torch.arange(len(counts)).repeat_interleave(torch.tensor(n)) for n in (counts, 10))
    x, queries = (centres[of] + 0.7 * torch.randn(len(of), DIM, generator=generator) for of in (y, asked))
    return x, y, queries, asked


def answers(learner: Learner, x: torch.Tensor, y: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    learner.eval()
    with torch.no_grad():
        state = learner.observe(learner.init_state(), x[None], y[None])
        return state.answers(learner.predict(state, queries[None]))[0]


def nearest_mean(x: torch.Tensor, y: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    means = np.stack([x.numpy()[y.numpy() == label].mean(0) for label in range(int(y.max()) + 1)])
    distances = ((queries.numpy()[:, None] - means) ** 2).sum(2)
    return torch.from_numpy(distances.argmin(1))


def test_a_prototypical_network_begins_as_nearest_class_mean():
    learner = Learner(PROTOTYPE)
    by_chance = answers(learner, *(stream := gaussians([5] * TASKS))[:3])
    class_means(learner)
    expected = nearest_mean(*stream[:3])
    assert torch.equal(answers(learner, *stream[:3]), expected)
    assert not torch.equal(by_chance, expected)


@pytest.mark.parametrize("counts", [[1] * TASKS, [6] * TASKS, [20, 5] * (TASKS // 2), [200] * TASKS])
def test_mamba_begins_as_one_who_knows_classes(counts: list[int]):
    """In long streams as well, of which the first classes are not forgotten, and whatever the counts."""
    learner = Learner(MAMBA)
    counted_associations(learner)
    x, y, queries, asked = gaussians(counts)
    right = (answers(learner, x, y, queries) == asked).double().view(TASKS, 10).mean(1)
    of_means = (nearest_mean(x, y, queries) == asked).double().mean()
    assert right.mean() > of_means - 0.1
    assert right.min() >= 0.5  # and by chance it would be 1 / 8


def test_by_chance_mamba_knows_none():
    x, y, queries, asked = gaussians([6] * TASKS)
    assert (answers(Learner(MAMBA), x, y, queries) == asked).double().mean() < 0.5


@pytest.mark.parametrize(
    "config",
    [
        PROTOTYPE,
        dataclasses.replace(MAMBA, n_layer=3),
        dataclasses.replace(MAMBA, d_model=48),
        dataclasses.replace(MAMBA, target=ClassTarget(8)),
        SequenceConfig(VectorEncoder(DIM)),
    ],
)
def test_learners_that_cannot_begin_so(config: SequenceConfig | PrototypeConfig):
    with pytest.raises(InvalidValueError, match="two layers of Mamba2Mixer"):
        counted_associations(Learner(config))


@pytest.mark.parametrize(
    "config",
    [
        MAMBA,
        dataclasses.replace(PROTOTYPE, d_model=16),
        dataclasses.replace(PROTOTYPE, encoder=VectorEncoder(DIM)),
        dataclasses.replace(PROTOTYPE, encoder=VectorEncoder(DIM, hidden=(40,))),
    ],
)
def test_networks_that_cannot_begin_as_class_means(config: SequenceConfig | PrototypeConfig):
    with pytest.raises(InvalidValueError, match="must have a PrototypeConfig"):
        class_means(Learner(config))
