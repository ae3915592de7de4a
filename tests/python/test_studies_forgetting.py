"""The study of forgetting: what is kept of R, and what is told of it."""

from __future__ import annotations

import pytest
import torch
from matplotlib import pyplot as plt

from mambacl.evaluation import AccuracyMatrix
from mambacl.studies.forgetting import Forgetting, StreamMatrix
from mambacl.studies.study import Told

TASKS = 20


def fading() -> StreamMatrix:
    """A twentieth is lost with every task that follows."""
    task = torch.arange(TASKS, dtype=torch.float64)
    values = 1 - (task[:, None] - task) / TASKS
    values[torch.ones(TASKS, TASKS).triu(1).bool()] = torch.nan
    return StreamMatrix.of(AccuracyMatrix(values, episodes=3))


def told(learner: str, answer: StreamMatrix, seed: int = 0) -> Told[StreamMatrix]:
    return Told("sequence-learners", learner, answer, seed)


def test_a_matrix_is_thinned_and_summed_up():
    kept = fading()
    assert kept.after == tuple(range(2, 21, 2))
    assert [len(row) for row in kept.rows] == list(kept.after)
    assert kept.rows[1] == pytest.approx((0.85, 0.9, 0.95, 1.0))
    assert kept.last == pytest.approx([1 - (19 - task) / 20 for task in range(20)])
    assert kept.diagonal == (1.0,) * TASKS
    assert kept.anytime == pytest.approx([1 - after / 40 for after in range(20)], abs=1e-4)
    # The mean of 1/20, ..., 19/20: with every reference, as each task was best right after it.
    assert kept.forgetting == kept.forgetting_best == kept.forgetting_first == 0.5
    assert kept.episodes == 3


def test_the_three_meanings_of_forgetting_stay_apart():
    nan = torch.nan
    values = torch.tensor([[0.6, nan, nan], [0.8, 0.5, nan], [0.7, 0.9, 1.0]], dtype=torch.float64)
    kept = StreamMatrix.of(AccuracyMatrix(values, episodes=2))
    assert kept.after == (1, 2, 3)
    assert kept.forgetting == pytest.approx(((0.8 - 0.7) + (0.5 - 0.9)) / 2)
    assert kept.forgetting_best == pytest.approx(((0.8 - 0.7) + (0.9 - 0.9)) / 2)
    assert kept.forgetting_first == pytest.approx(((0.6 - 0.7) + (0.5 - 0.9)) / 2)


def test_figures_show_what_was_measured():
    report = Forgetting().report([told("mamba", fading()), told("oml", fading())])
    sequence, others = report.figures["positions"].axes
    (line,), (other,) = sequence.lines, others.lines
    assert (line.get_label(), other.get_label()) == ("mamba", "oml")
    assert list(line.get_xdata()) == [3, 8, 13, 18]
    assert list(line.get_ydata()) == pytest.approx([0.15, 0.4, 0.65, 0.9])
    anytime = report.figures["anytime"].axes[0].lines[0]
    assert list(anytime.get_xdata()) == list(range(1, 21))
    shown = report.figures["matrices"].axes[0].images[0].get_array()
    assert shown is not None
    assert shown.shape == (10, 20)
    assert shown.mask[0, 2:].all()
    assert not shown.mask[-1].any()
    for figure in report.figures.values():
        plt.close(figure)


def test_the_table_tells_the_range_of_seeds():
    never = StreamMatrix.of(AccuracyMatrix(torch.ones(TASKS, TASKS, dtype=torch.float64), episodes=3))
    report = Forgetting().report([told("bayes", never), told("bayes", fading(), 1), told("gemcl", never)])
    (table,) = report.tables.values()
    bayes, gemcl = table.splitlines()[2:]
    assert "| 0.762 (0.525 to 1.000) | 0.250 (0.000 to 0.500) |" in bayes
    assert gemcl == "| gemcl | 1.000 | 1.000 | 1.000 | 0.000 | 0.000 | 0.000 |"
    assert [ax.get_title() for ax in report.figures["matrices"].axes[:2]] == ["bayes", "gemcl"]
    for figure in report.figures.values():
        plt.close(figure)


def test_learners_without_the_regulariser_are_not_asked():
    study = Forgetting()
    assert study.asks("sequence-learners", "mamba")
    assert not study.asks("sequence-learners", "mamba-unguided")
