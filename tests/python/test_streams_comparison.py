"""The comparison of learners of one stream."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mambacl import save_learner
from mambacl.streams.comparison import lives
from mambacl.streams.comparison.__main__ import Comparison, run
from mambacl.streams.comparison.contestants import Sgd, contestants, nearest_class_mean
from mambacl.streams.comparison.lives import Life, Task

WINE = {"wine": lives.DATA["wine"]}


def test_streams_hold_the_same_examples_in_another_order():
    shuffled, by_class = Task.of("wine", "shuffled", 3), Task.of("wine", "sorted", 3)
    assert len(np.flatnonzero(np.diff(by_class.y))) == 2
    assert sorted(map(tuple, shuffled.x)) == sorted(map(tuple, by_class.x))
    np.testing.assert_array_equal(shuffled.queries, by_class.queries)
    assert not {tuple(row) for row in shuffled.x} & {tuple(row) for row in shuffled.queries}
    assert shuffled.points[0] == 10
    assert shuffled.points[-1] == len(shuffled.x)


def test_class_means_are_class_means():
    """Wine has 13 features: the projection to 64 keeps distances, and standardisation is by hand here."""
    task = Task.of("wine", "shuffled", 0)
    x, queries = ((part - task.x[:30].mean(0)) / task.x[:30].std(0) for part in (task.x, task.queries))
    contestant = contestants(nearest_class_mean())["nearest class mean"](3, 0)
    for row, label in zip(task.x, task.y.tolist(), strict=True):
        contestant.learn(row, label)
    means = np.stack([x[task.y == label].mean(0) for label in range(3)])
    expected = ((queries[:, None] - means) ** 2).sum(2).argmin(1)
    assert (
        contestant.answer(task.queries) == expected
    ).mean() > 0.97  # but for those read while moments moved


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
    monkeypatch.setattr("mambacl.streams.comparison.__main__.DATA", WINE)
    save_learner(tmp_path / "learner", nearest_class_mean())
    text = run(Comparison(tmp_path / "page", learner=tmp_path / "learner", seeds=1))
    assert len(text.splitlines()) == 2 + 2 * 4
    assert text in (tmp_path / "page" / "README.md").read_text()
    assert (tmp_path / "page" / "curves.png").read_bytes().startswith(b"\x89PNG")
    pretrained, means = (line for line in text.splitlines()[2:4])
    assert pretrained.split("|")[4] == means.split("|")[4]  # the same learner under two names
