"""The study of regression: what is asked, how it is told, and pictures of completions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from torch import Tensor

from mambacl import Episode, Learner, LearnerState, SequenceConfig, Trace, VectorEncoder, VectorTarget
from mambacl.config import Target
from mambacl.experiments.experiment import Experiment
from mambacl.experiments.files import load
from mambacl.experiments.trained import Trained
from mambacl.runs import RunFolder
from mambacl.studies import Places, Scale, Told, conduct, study
from mambacl.studies.completions import Completed, completed, draw_completions
from mambacl.studies.foreign_streams import ForeignStreams
from mambacl.studies.regression import Regression, RegressionError
from mambacl.sweeps import Results, read_sweep
from mambacl.sweeps.files import sweep_file
from mambacl.yardsticks import nearest_neighbour
from written_outcomes import written_outcome


class Neighbour(Learner):
    """Keeps what it reads beside its state, and answers with the nearest example's target."""

    def __init__(self, dim: int, target: Target) -> None:
        super().__init__(SequenceConfig(VectorEncoder(dim), target, d_model=8, selectivity=None))

    def observe(self, state: LearnerState, x: Tensor, y: Tensor) -> LearnerState:
        self.kept = (x, y)
        return super().observe(state, x, y)

    def predict(
        self, state: LearnerState, x: Tensor, trace: Trace | None = None, *, chunk_size: int | None = None
    ) -> Tensor:
        empty = torch.zeros(len(x), 0, dtype=torch.int64)
        y = torch.zeros(*x.shape[:2], self.kept[1].shape[2])
        return nearest_neighbour(Episode(*self.kept, x, y, empty))


@pytest.mark.parametrize(("name", "dim"), [("sine-mamba", 50), ("completion-mamba", 512)])
def test_a_learner_is_asked_as_a_yardstick_is(name: str, dim: int, tmp_path: Path):
    experiment = load(name)
    learner = Neighbour(dim, VectorTarget(dim))
    trained = Trained(RunFolder.create(tmp_path / "run", {}), experiment, 0, 1, learner)
    scale = Scale(episodes=20)
    found, same = (
        Regression().ask(trained, scale),
        Regression().ask_yardsticks(experiment, scale)["nearest input's target"],
    )
    assert (found.metric, found.completions) == ("squared error", same.completions)
    assert (found.mean, found.interval) == pytest.approx((same.mean, same.interval), abs=1.1e-5)
    assert len(found.completions) == (5 if dim == 512 else 0)
    assert found.foreign is not None
    assert found.foreign > 1.5 * found.mean  # its answers are all remembered
    assert same.foreign is None


def test_queries_follow_another_stream():
    source = load("sine-mamba").source("test")
    plain, made = source.batch(2, 4), ForeignStreams(source).batch(3, 2)
    assert torch.equal(made.test_x, plain.test_x[1:3])
    assert torch.equal(made.test_y, plain.test_y[1:3])
    assert torch.equal(made.train_x, plain.train_x[2:4])
    assert torch.equal(made.train_y, plain.train_y[2:4])


def test_angles_are_asked_as_angles():
    found = Regression().ask_yardsticks(load("rotation-mamba"), Scale(episodes=4))
    assert found["zero"] == RegressionError("1 - cos", 1.0, 0.0)
    assert {one.metric for one in found.values()} == {"1 - cos"}


def decoded(rows: tuple[str, ...]) -> np.ndarray:
    return np.array([[2 * int(digit, 16) / 15 - 1 for digit in row] for row in rows])


def test_pictures_are_the_halves():
    """hanzi21 has four grey levels, which sixteen hold exactly; what is beyond them is cut."""
    source = load("completion-mamba").source("test")
    episode = source.batch(0, 1)
    each = completed(lambda one: one.test_y * 2, source)
    assert len(each) == 5
    for task, one in enumerate(each):
        query = 5 * task
        assert (len(one.given), len(one.given[0])) == (16, 32)
        np.testing.assert_allclose(decoded(one.given).ravel(), episode.test_x[0, query], atol=1e-6)
        wanted = episode.test_y[0, query]
        np.testing.assert_allclose(decoded(one.wanted).ravel(), wanted, atol=1e-6)
        answered = (wanted * 2).clamp(-1, 1)
        np.testing.assert_allclose(decoded(one.answered).ravel(), answered, atol=1 / 15 + 1e-6)


def test_completions_are_drawn_below_the_characters():
    ink, ground, grey = ("f" * 32,) * 16, ("0" * 32,) * 16, ("7" * 32,) * 16
    figure = draw_completions(
        {"mamba": [Completed(ink, ground, grey)] * 2, "oml": [Completed(ink, ground, ink)] * 2}
    )
    (ax,) = figure.get_axes()
    assert [text.get_text() for text in ax.get_yticklabels()] == ["the characters", "mamba", "oml"]
    canvas = np.asarray(ax.images[0].get_array())
    assert canvas.shape == (3 * 36, 2 * 36)
    for row, bottom in enumerate((0, 7, 15)):
        for column in (0, 36):
            shown = canvas[36 * row : 36 * row + 32, column : column + 32]
            assert (shown[:16] == 15).all()
            assert (shown[16:] == bottom).all()
    plt.close(figure)


def told(sweep: str, learner: str, mean: float, seed: int | None = 0) -> Told[RegressionError]:
    metric = "1 - cos" if sweep == "rotation" else "squared error"
    row = ("f" * 32,) * 16
    pictures = (Completed(row, row, row),) if sweep == "completion" else ()
    outcome = None if seed is None else written_outcome(f"{sweep}-mamba", learner)
    foreign = None if seed is None else 2 * mean
    return Told(sweep, learner, RegressionError(metric, mean, 0.01, foreign, pictures), seed, outcome)


def test_benchmarks_stand_beside_one_another():
    mean = "mean of the stream's targets"
    report = Regression().report(
        [
            told("sine", "mamba-unguided", 0.1),
            told("sine", "mamba-2", 0.05),
            told("sine", "oml", 0.08),
            told("rotation", "mamba-unguided", 0.2),
            told("rotation", "mamba-unguided", 0.4, seed=1),
            told("rotation", "oml", 0.5),
            told("completion", "mamba-unguided", 0.3),
            told("sine", mean, 0.5, seed=None),
            told("rotation", mean, 1.0, seed=None),
            told("completion", mean, 0.45, seed=None),
        ]
    )
    ((caption, body),) = report.tables.items()
    assert "lower is better" in caption
    assert body.splitlines()[0] == (
        "| learner | sine waves: squared error | rotation: 1 - cos | completion: squared error |"
    )
    assert body.splitlines()[2:] == [
        "| mamba-unguided | 0.100 ± 0.010 / 0.200 | 0.300 (0.200 to 0.400) / 0.600 | 0.300 ± 0.010 / 0.600 |",
        "| mamba-2 | 0.050 ± 0.010 / 0.100 | - | - |",
        "| oml | 0.080 ± 0.010 / 0.160 | 0.500 ± 0.010 / 1.000 | - |",
        f"| {mean} | 0.500 ± 0.010 | 1.000 ± 0.010 | 0.450 ± 0.010 |",
    ]
    panels = report.figures["errors"].get_axes()
    assert [ax.get_title() for ax in panels] == ["sine waves", "rotation", "completion"]
    assert panels[1].get_xlabel() == "1 - cos, lower is better"
    for ax, widths in zip(panels, ([0.1, 0.05, 0.08, 0.5], [0.3, 0.5, 1.0], [0.3, 0.45]), strict=True):
        assert [bar.get_width() for bar in ax.patches] == pytest.approx(widths)
        assert [bool(bar.get_hatch()) for bar in ax.patches] == [False] * (len(widths) - 1) + [True]
    (ax,) = report.figures["completions"].get_axes()
    assert [text.get_text() for text in ax.get_yticklabels()] == ["the characters", "mamba-unguided"]
    for figure in report.figures.values():
        plt.close(figure)


def test_one_benchmark_alone_is_told():
    report = Regression().report([told("sine", "oml", 0.1)])
    assert list(report.figures) == ["errors"]
    plt.close(report.figures["errors"])


@pytest.mark.parametrize("name", ["rotation", "completion"])
def test_sweeps_have_one_learning_rate_each(name: str):
    sweep = read_sweep(sweep_file(name))
    made: dict[str, Experiment] = {}
    for row in sweep.rows:
        ((values, experiment),) = row.experiments.items()
        assert values == ()
        made[row.name] = experiment
    assert {name: one.train.lr for name, one in made.items()} == dict.fromkeys(made, 4e-3) | {
        "transformer": 2e-3
    }
    weights = {
        name: one.model.selectivity.weight
        for name, one in made.items()
        if isinstance(one.model, SequenceConfig) and one.model.selectivity is not None
    }
    assert weights["mamba-weakly-guided"] == 0.02
    assert set(weights.values()) == {0, 0.02}
    assert {one.train.steps for one in made.values()} == {1000}


def test_the_study_is_conducted(tmp_path: Path):
    """Of few learners: the others take the same way."""

    class Short(Regression):
        def asks(self, sweep: str, learner: str) -> bool:
            return sweep != "sine" and learner in ("linear-transformer", "bayes")

    assert isinstance(study("regression"), Regression)
    places = Places(tmp_path / "runs", tmp_path / "results")
    page = conduct(Short(), Scale.to_try(), places)
    text = page.read_text()
    for picture in ("errors.png", "completions.png"):
        assert f"({picture})" in text
        assert (page.parent / picture).stat().st_size > 5_000
    assert "| linear-transformer |" in text
    before = {file: file.stat().st_mtime_ns for file in places.results.rglob("answers/*.json")}
    conduct(Short(), Scale.to_try(), places)
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert all(file.stat().st_size < 12_000 for file in before)
    assert Results(places.results / "rotation").folder.exists()
