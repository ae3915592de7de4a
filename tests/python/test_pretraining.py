"""The mixture that the pretrained learner is meta-trained on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mambacl
from mambacl import ContinualClassifier, Learner, LearnerState, PrototypeConfig, VectorEncoder
from mambacl.data.feature_classes import FeatureClasses
from mambacl.errors import InvalidValueError
from mambacl.streams import pretrain
from mambacl.streams.pretraining.adapted import adapted
from mambacl.streams.pretraining.borrowed import BorrowedClasses
from mambacl.streams.pretraining.mixture import MixtureSource
from mambacl.streams.pretraining.sizes import LONG, SHOTS, TASKS, Sizes

CLASSES, EACH, VIEWS, WIDTH = 70, 6, 2, 12


def features() -> FeatureClasses:
    """Classes far apart; each example has its own number, class * EACH + place, as its last feature."""
    generator = torch.Generator().manual_seed(0)
    centres = 5 * torch.randn(CLASSES, 1, 1, WIDTH, generator=generator)
    x = centres + torch.randn(CLASSES, EACH, VIEWS, WIDTH, generator=generator)
    x[..., -1] = torch.arange(CLASSES * EACH).view(CLASSES, EACH, 1)
    counts = torch.full((CLASSES,), EACH)
    names = tuple(map(str, range(CLASSES)))
    domains = torch.zeros(CLASSES * EACH, dtype=torch.int64)
    return FeatureClasses(x.flatten(0, 1), counts, names, domains, ("only",))


def mixture(seed: int = 0) -> MixtureSource:
    return MixtureSource((features(),), dim=16, vocab=64, seed=seed, split="train")


@given(index=st.integers(0, 2**40), seed=st.integers(0, 2**40))
@settings(deadline=None, max_examples=30)
def test_sizes_values_and_labels(index: int, seed: int):
    episode = mixture(seed).batch(index, 3)  # which checks labels, codebooks and that inputs are finite
    batch, length, dim = episode.train_x.shape
    assert (batch, dim) == (3, 16)
    for y, asked in zip(episode.train_y, episode.test_y, strict=True):
        shown = y.unique()
        tasks = len(shown)
        assert TASKS[0] <= tasks <= TASKS[1]
        assert shown.tolist() == list(range(tasks)) == asked.unique().tolist()
        first = [y.tolist().index(label) for label in range(tasks)]
        assert first == sorted(first)
        assert length % tasks == 0
        assert SHOTS[0] <= length // tasks <= max(SHOTS[1], LONG[1] // tasks)


@given(index=st.integers(0, 2**60))
@settings(deadline=None, max_examples=10)
def test_a_batch_is_a_function_of_its_index(index: int):
    one, again, shorter = mixture().batch(index, 3), mixture().batch(index, 3), mixture().batch(index, 2)
    for name in ("train_x", "train_y", "test_x", "test_y", "codebook"):
        assert torch.equal(getattr(one, name), getattr(again, name))
        assert torch.equal(getattr(one, name)[:2], getattr(shorter, name))
    other = mixture(seed=1).batch(index, 3)
    assert one.train_x.shape != other.train_x.shape or not torch.equal(one.train_x, other.train_x)


def test_all_orders_of_both_kinds():
    """Ten episodes are five orders of two kinds; in shuffled ones a class comes back after another."""
    source = mixture()
    starts = (start for start in range(0, 2000, 10) if len(source.batch(start, 1).train_y[0]) > 60)
    labels = source.batch(next(starts), 10).train_y
    runs = [len(y.unique_consecutive()) / len(y.unique()) for y in labels]
    assert runs[0] == runs[1] == 1.0  # contiguous
    assert runs[4] == runs[5] == 2.0  # recurring
    assert runs[6] == runs[7] == 1.0  # imbalanced
    for shuffled in (2, 3, 8, 9):
        assert runs[shuffled] > 1.0
    counts = [y.bincount() for y in labels]
    for even in (0, 2, 4):
        assert counts[even].min() == counts[even].max()
    for uneven in (6, 8):
        assert counts[uneven].min() < counts[uneven].max()


def test_classes_can_be_told_apart_by_their_means():
    right, chance = [], []
    for index in range(0, 300, 10):
        episode = mixture().batch(index, 10)
        for x, y, asked, expected in zip(
            episode.train_x, episode.train_y, episode.test_x, episode.test_y, strict=True
        ):
            means = torch.stack([x[y == label].mean(0) for label in range(int(y.max()) + 1)])
            right.append((torch.cdist(asked, means).argmin(1) == expected).double().mean())
            chance.append(1 / len(means))
    assert np.mean(right) > np.mean(chance) + 0.3
    assert np.mean(right) < 0.95  # and there is something to learn


def test_streams_and_queries_share_no_example():
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 30)
    classes = BorrowedClasses.drawn(generator, features(), 10)
    read = classes.examples(generator, labels, queries=False)
    asked = classes.examples(generator, labels, queries=True)
    assert not set(read[:, -1]) & set(asked[:, -1])
    for x in (read, asked):  # a class of the set belongs to one label
        of = {(int(number) // EACH, label) for number, label in zip(x[:, -1], labels, strict=True)}
        assert len({member for member, _ in of}) == len(of)


@pytest.mark.parametrize("length", [1, 7, 10, 11, 45])
def test_episodes_look_as_an_estimator_feeds_them(monkeypatch: pytest.MonkeyPatch, length: int):
    """What the learner's state holds after the last of its calls: the opening is read again."""
    fed: list[torch.Tensor] = []
    learner = Learner(PrototypeConfig(VectorEncoder(8)))
    begin, observe, predict = learner.init_state, learner.observe, learner.predict

    def beginning(*args: Any, **named: Any) -> LearnerState:
        fed.clear()
        return begin(*args, **named)

    def reading(state: LearnerState, x: torch.Tensor, y: torch.Tensor) -> LearnerState:
        fed.append(x[0])
        return observe(state, x, y)

    def asking(state: LearnerState, x: torch.Tensor, **named: Any) -> torch.Tensor:
        fed.append(x[0])
        return predict(state, x, **named)

    x = np.random.default_rng(0).normal(size=(length, 5)) * 7 + 3
    queries = np.random.default_rng(1).normal(size=(4, 5))
    monkeypatch.setattr(learner, "init_state", beginning)
    monkeypatch.setattr(learner, "observe", reading)
    monkeypatch.setattr(learner, "predict", asking)
    classifier = ContinualClassifier(learner, random_state=3)
    for row in x:
        classifier.partial_fit(row[None], ["a"])
    classifier.predict(queries)
    train, test = adapted(torch.from_numpy(x), torch.from_numpy(queries), 8, seed=3)
    torch.testing.assert_close(torch.cat(fed), torch.cat([train, test]), rtol=1e-5, atol=1e-5)


def test_what_cannot_be_drawn():
    with pytest.raises(InvalidValueError, match="`batch_size` must be at least 1"):
        mixture().batch(0, 0)
    with pytest.raises(InvalidValueError, match="`first_index` must be from 0"):
        mixture().batch(-1, 2)


def test_sizes_of_many_batches():
    drawn = [Sizes.drawn(np.random.default_rng(seed)) for seed in range(4000)]
    assert {size.tasks for size in drawn} == set(range(TASKS[0], TASKS[1] + 1))
    assert {size.shots for size in drawn} >= set(range(SHOTS[0], SHOTS[1] + 1))
    assert all(size.tasks * size.shots <= max(LONG[1], TASKS[1] * SHOTS[1]) for size in drawn)
    assert 0.02 < np.mean([size.shots > SHOTS[1] for size in drawn]) < 0.2


def test_long_streams_alone():
    drawn = [Sizes.drawn(np.random.default_rng(seed), "long") for seed in range(500)]
    lengths = np.array([size.tasks * size.shots for size in drawn])
    assert lengths.min() > LONG[0] - TASKS[1]  # examples of a class are rounded down
    assert 1000 < lengths.max() <= LONG[1]
    source = dataclasses.replace(mixture(), lengths="long")
    assert all(source.batch(index, 1).train_y.shape[1] > LONG[0] - TASKS[1] for index in range(5))


def test_the_command_writes_a_learner_and_its_description(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pretrain, "feature_sets", lambda split: ())
    chosen = pretrain.Pretrain(
        tmp_path / "new" / "small.safetensors",
        learner="mamba2",
        dim=64,
        d_model=192,
        steps=2,
        batch_size=2,
        episodes=8,
    )
    assert "mixed_accuracy" in pretrain.run(chosen)
    learner = mambacl.load_learner(chosen.out)
    assert learner.config == chosen.first().config
    assert learner.fingerprint() != chosen.first().fingerprint()  # it was trained
    described = chosen.out.with_suffix(".toml").read_text()
    assert "sha256 = " in described
    assert 'learner = "mamba2"' in described
    assert "steps = 2" in described
