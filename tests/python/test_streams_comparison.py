"""The comparison of learners of one stream."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mambacl import Learner, PrototypeConfig, VectorEncoder, save_learner
from mambacl.data.feature_classes import FeatureClasses
from mambacl.streams.comparison import unseen
from mambacl.streams.comparison.__main__ import Comparison, run
from mambacl.streams.comparison.contestants import ClassMeans, Sgd
from mambacl.streams.comparison.lives import Life, StreamOrder, Task

WINE = {"wine": unseen.UNSEEN["wine"]}


def test_streams_hold_the_same_examples_in_another_order():
    shuffled, by_class = Task.of("wine", "shuffled", 3), Task.of("wine", "sorted", 3)
    assert len(np.flatnonzero(np.diff(by_class.y))) == 2
    assert sorted(map(tuple, shuffled.x)) == sorted(map(tuple, by_class.x))
    np.testing.assert_array_equal(shuffled.queries, by_class.queries)
    assert not {tuple(row) for row in shuffled.x} & {tuple(row) for row in shuffled.queries}
    assert shuffled.points[0] == 10
    assert shuffled.points[-1] == len(shuffled.x)


@pytest.mark.parametrize("order", ["shuffled", "sorted"])
def test_class_means_are_class_means(order: StreamOrder):
    """Of standardised features, by hand; the order leaves no mark."""
    task = Task.of("wine", order, 0)
    x, queries = ((part - task.x.mean(0)) / task.x.std(0) for part in (task.x, task.queries))
    contestant = ClassMeans(3)
    for row, label in zip(task.x, task.y.tolist(), strict=True):
        contestant.learn(row, label)
    means = np.stack([x[task.y == label].mean(0) for label in range(3)])
    expected = ((queries[:, None] - means) ** 2).sum(2).argmin(1)
    np.testing.assert_array_equal(contestant.answer(task.queries), expected)
    assert contestant.nbytes == 8 * (3 * 13 + 3 + 13 + 13)


def test_class_means_answer_with_classes_that_were_shown():
    contestant = ClassMeans(3)
    contestant.learn(np.zeros(2), 1)
    contestant.learn(np.ones(2), 2)
    assert contestant.answer(np.array([[0.1, 0.0], [0.9, 1.0]])).tolist() == [1, 2]


def test_held_out_classes(monkeypatch: pytest.MonkeyPatch):
    """Another seed draws other classes; each class has examples of its own."""
    counts = torch.tensor([3, 8, 5, 120])
    features = torch.arange(int(counts.sum()), dtype=torch.float32).view(-1, 1, 1)
    domains = torch.zeros(len(features), dtype=torch.int64)
    classes = FeatureClasses(features, counts, ("a", "b", "c", "d"), domains, ("",))
    monkeypatch.setattr(unseen, "features", lambda _labelled, _encoder: classes)
    monkeypatch.setattr(unseen, "frozen_encoder", lambda _name: None)
    monkeypatch.setattr(unseen, "GLOSSES", (2, 100))
    owner = np.repeat(np.arange(4), counts.numpy())
    drawn = set()
    for seed in range(8):
        x, y = unseen.UNSEEN["glosses"](seed)
        of = {label: set(owner[x[y == label, 0].astype(int)]) for label in (0, 1)}
        assert all(len(each) == 1 for each in of.values())
        chosen = tuple(each.pop() for each in of.values())
        assert len(set(chosen)) == 2
        assert [(y == label).sum() for label in (0, 1)] == [min(100, counts[c]) for c in chosen]
        drawn.add(chosen)
    assert len(drawn) > 2


def test_a_life_reads_in_order_and_asks_at_its_points():
    task = Task.of("wine", "sorted", 0)
    life = Life.lived(Sgd(3, 0), task)
    assert [read for read, _ in life.accuracy] == task.points
    assert life.final == life.accuracy[-1][1] > 0.5
    share = (task.answers == task.y[0]).mean()
    assert life.accuracy[0][1] <= share + 1e-3  # one class has been shown
    assert life.nbytes == 8 * (3 * 13 + 3 + 13 + 13)


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("river")
    monkeypatch.setattr("mambacl.streams.comparison.__main__.UNSEEN", WINE)
    for name in ("one", "other"):
        save_learner(
            tmp_path / f"{name}.safetensors", Learner(PrototypeConfig(VectorEncoder(16), d_model=16))
        )
    files = (tmp_path / "one.safetensors", tmp_path / "other.safetensors")
    text = run(Comparison(tmp_path / "page", learner=files, seeds=1))
    assert len(text.splitlines()) == 2 + 2 * 5
    assert text in (tmp_path / "page" / "README.md").read_text()
    assert (tmp_path / "page" / "curves.png").read_bytes().startswith(b"\x89PNG")
    one, other = (line.split("|") for line in text.splitlines()[2:4])
    assert (one[3].strip(), other[3].strip()) == ("one", "other")
    assert one[4] == other[4]  # the same learner under two names
