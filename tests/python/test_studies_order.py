"""The study of orders: what is asked, and how it is told."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from torch import Tensor
from torch.nn.functional import one_hot

from mambacl import Episode, Learner, LearnerState, SequenceConfig, Trace, VectorEncoder
from mambacl.experiments.files import load
from mambacl.experiments.trained import Trained
from mambacl.runs import RunFolder
from mambacl.studies import Scale, Told
from mambacl.studies.conditions import ByCondition
from mambacl.studies.order import ORDERS, Orders, source
from mambacl.sweeps import read_sweep
from mambacl.sweeps.files import sweep_file
from mambacl.yardsticks import nearest_neighbour
from written_outcomes import written_outcome


def test_each_order_is_asked_the_same_queries():
    experiment = load("features-mamba")
    made = [source(experiment, order).batch(0, 2) for order in ORDERS]
    for one in made[1:]:
        assert torch.equal(one.test_x, made[0].test_x)
        assert not torch.equal(one.train_x, made[0].train_x)
    shuffled = load("features-mamba", ["data.order=shuffled"])  # what it was trained on is no matter
    assert torch.equal(source(shuffled, "recurring").batch(0, 1).train_x, made[2].train_x[:1])


class Neighbour(Learner):
    """Keeps what it reads beside its state, and answers with the nearest example's label."""

    def __init__(self) -> None:
        super().__init__(SequenceConfig(VectorEncoder(128), d_model=8))

    def observe(self, state: LearnerState, x: Tensor, y: Tensor) -> LearnerState:
        self.kept = (x, y)
        return super().observe(state, x, y)

    def predict(
        self, state: LearnerState, x: Tensor, trace: Trace | None = None, *, chunk_size: int | None = None
    ) -> Tensor:
        labels = nearest_neighbour(Episode(*self.kept, x, torch.zeros(x.shape[:2]).long(), state.codebook))
        return one_hot(labels, 64).float()


def test_a_learner_is_asked_as_a_yardstick_is(tmp_path: Path):
    experiment = load("features-mamba")
    trained = Trained(RunFolder.create(tmp_path / "run", {}), experiment, 0, 1, Neighbour())
    scale = Scale(episodes=20)
    found = Orders().ask(trained, scale)
    assert found == Orders().ask_yardsticks(experiment, scale)["nearest neighbour"]
    assert list(found.scores) == list(ORDERS)
    assert len(set(found.scores.values())) > 1
    assert list(Orders().ask(trained, Scale(3, fast=True)).scores) == ["contiguous", "imbalanced"]


def test_yardsticks_are_asked_in_every_order():
    found = Orders().ask_yardsticks(load("features-mamba"), Scale(episodes=10))
    assert set(found) == {"nearest neighbour", "class mean", "ridge regression"}
    means = found["class mean"].scores
    assert list(means) == list(ORDERS)
    assert means["shuffled"][0] == pytest.approx(means["contiguous"][0], abs=0.02)  # the same examples
    assert means["imbalanced"][0] > 0.9


def test_rows_are_what_learners_were_trained_on():
    def told(learner: str, order: str, seed: int, *means: float) -> Told[ByCondition]:
        outcome = written_outcome("features-mamba", learner, [f"data.order={order}"], seed)
        return Told(
            "orders",
            learner,
            ByCondition(dict(zip(ORDERS, ((m, 0.01) for m in means), strict=True))),
            seed,
            outcome,
        )

    yardstick = ByCondition(dict.fromkeys(ORDERS, (1.0, 0.0)))
    report = Orders().report(
        [
            told("mamba", "contiguous", 0, 0.9, 0.5, 0.8, 0.7),
            told("mamba", "contiguous", 1, 0.9, 0.3, 0.8, 0.7),
            told("mamba-mixture", "mixture", 0, 0.88, 0.86, 0.87, 0.8),
            Told("orders", "class mean", yardstick),
        ]
    )
    (table,) = report.tables.values()
    assert [line for line in table.splitlines() if "mamba" in line or "mean" in line] == [
        "| mamba | contiguous | 0.900 (0.900 to 0.900) | 0.400 (0.300 to 0.500) | 0.800 (0.800 to 0.800) | "
        "0.700 (0.700 to 0.700) |",
        "| mamba | mixture | 0.880 ± 0.010 | 0.860 ± 0.010 | 0.870 ± 0.010 | 0.800 ± 0.010 |",
        "| class mean | - | 1.000 ± 0.000 | 1.000 ± 0.000 | 1.000 ± 0.000 | 1.000 ± 0.000 |",
    ]
    ax = report.figures["orders"].get_axes()[0]
    image = np.asarray(ax.get_images()[0].get_array())
    assert image.tolist() == [[0.9, 0.4, 0.8, 0.7], [0.88, 0.86, 0.87, 0.8], [1.0] * 4]
    written = {(text.get_position(), text.get_text().split()[0]): text.get_color() for text in ax.texts}
    assert written[((1, 0), "0.400")] == "white"  # on black
    assert written[((0, 2), "1.000")] == "black"
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["mamba, contiguous", "mamba, mixture", "class mean"]
    plt.close(report.figures["orders"])


def test_the_sweep_trains_on_every_order():
    sweep = read_sweep(sweep_file("orders"))
    trained = {cell.learner: dataclasses.asdict(cell.experiment.data)["order"] for cell in sweep.cells}
    assert trained == {
        "mamba": "contiguous",
        **{f"mamba-{order}": order for order in ("shuffled", "recurring", "imbalanced", "mixture")},
        "transformer": "contiguous",
        "transformer-mixture": "mixture",
        "prototype": "contiguous",
    }
