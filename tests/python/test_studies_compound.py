"""The study of compound classes: what is asked, and how it is told."""

from __future__ import annotations

import pytest
import torch
from matplotlib import pyplot as plt

from mambacl.experiments.files import load
from mambacl.studies import Scale, Told
from mambacl.studies.compound import Compound, source
from mambacl.studies.curve import Curve, Point
from written_outcomes import written_outcome

EXPERIMENT = "features-compound-mamba"


def test_members_are_those_asked_for():
    experiment = load(EXPERIMENT)
    assert torch.equal(
        source(experiment, 3).batch(0, 1).train_x, experiment.source("test").batch(0, 1).train_x
    )
    plain = load(EXPERIMENT, ["data.compound=1"]).source("test").batch(0, 1)
    assert torch.equal(source(experiment, 1).batch(0, 1).test_x, plain.test_x)


def test_means_of_larger_classes_mean_less():
    found = Compound().ask_yardsticks(load(EXPERIMENT), Scale(episodes=20))
    assert [point.at for point in found["class mean"].points] == [1, 2, 3, 5]
    means = [point.mean for point in found["class mean"].points]
    assert means == sorted(means, reverse=True)
    assert means[0] > 0.95 > 0.8 > means[-1]
    assert found["nearest neighbour"].points[-1].mean > means[-1] + 0.1


def test_sequence_learners_stand_beside_others():
    curve = Curve((Point(1, 0.9, 0.01), Point(3, 0.6, 0.02)))
    outcome = written_outcome(EXPERIMENT, "any")
    names = ("mamba", "transformer", "oml", "prototype")
    report = Compound().report(
        [
            *(Told("features-compound", name, curve, 0, outcome) for name in names),
            Told("features-compound", "class mean", curve),
        ]
    )
    left, right = report.figures["curves"].get_axes()
    assert [line.get_label() for line in left.get_lines()][:3] == ["chance", "mamba", "transformer"]
    assert [line.get_label() for line in right.get_lines()][:4] == [
        "chance",
        "oml",
        "prototype",
        "class mean",
    ]
    assert list(left.get_lines()[0].get_ydata()) == pytest.approx([0.2, 0.2])
    ((caption, table),) = report.tables.items()
    assert "trained at 3" in caption
    assert "| class mean | 0.900 ± 0.010 | 0.600 ± 0.020 |" in table
    plt.close(report.figures["curves"])
