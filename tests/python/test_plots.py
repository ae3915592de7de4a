"""Figures: what is drawn, told by the artists on the axes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from mambacl import AccuracyMatrix, Calibration, History, Scores, plots
from mambacl.errors import DtypeError, ShapeError
from mambacl.evaluation import ErrorMatrix
from mambacl.training import StepRecord

mpl.use("agg")


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def history(*accuracies: float) -> History:
    return History(
        [StepRecord(i + 1, 1.0, 1.0, None, a, 1.0, 1e-3, 0.0) for i, a in enumerate(accuracies)], []
    )


def texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def legend(ax: Axes) -> list[str]:
    drawn = ax.get_legend()
    assert drawn is not None
    return [text.get_text() for text in drawn.get_texts()]


def data(line: Line2D) -> list[list[float]]:
    return [np.asarray(part, float).tolist() for part in line.get_data()]


def test_what_is_kept_is_the_mean_over_states_between_the_fastest_and_the_slowest():
    ax = plots.kept({"one": [0.5], "two": [1.0, 4.0]}, steps=(0.01, 0.02), tokens=100)
    one, two = ax.lines
    (places, shares), (_, less) = data(one), data(two)
    assert (places[0], round(places[-1], 6)) == (1.0, 100.0)
    # The mean of exp(-0.5 delta 100) over log-uniform delta lies between its ends, nearer the middle's.
    assert np.exp(-1.0) < shares[-1] < np.exp(-0.5)
    assert abs(shares[-1] - np.exp(-0.5 * np.sqrt(2))) < 0.01
    assert all(a > b for a, b in zip(shares, less, strict=True))
    band = ax.collections[1].get_paths()[0].vertices
    last = sorted({round(y, 9) for x, y in band.tolist() if abs(x - 100) < 1e-6})
    assert last == [round(np.exp(-8.0), 9), round(np.exp(-1.0), 9)]
    assert legend(ax) == ["one", "two"]


def test_learning_curves_show_the_mean_and_the_range():
    runs = {"on": [history(0.0, 0.5, 1.0), history(0.5, 1.0, 1.0)], "off": [history(0.1, 0.1, 0.3)]}
    ax = plots.learning_curves(runs, window=1)
    on, off = ax.lines
    assert data(on) == [[1, 2, 3], [0.25, 0.75, 1.0]]
    assert data(off) == [[1, 2, 3], [0.1, 0.1, 0.3]]
    assert on.get_linestyle() != off.get_linestyle()
    (band,) = ax.collections  # none for a single seed
    (path,) = band.get_paths()
    assert {(1.0, 0.0), (1.0, 0.5), (2.0, 0.5), (2.0, 1.0)} <= {tuple(v) for v in path.vertices.tolist()}
    assert legend(ax) == ["on", "off"]
    assert "mean of 1 steps" in ax.get_ylabel()
    assert ax.get_ylim() == (0, 1)


def test_validation_curves_are_drawn_at_the_steps_that_all_seeds_have():
    runs = {
        "two": [{10: (1.0, 0.2), 20: (2.0, 0.4)}, {10: (3.0, 0.6), 20: (4.0, 0.8), 30: (9.0, 0.9)}],
        "none": [],
        "one": [{10: (5.0, 0.5)}],
    }
    ax = plots.validation_curves(runs, xlabel="minutes")
    two, one = ax.lines
    assert data(two) == [[2.0, 3.0], [pytest.approx(0.4), pytest.approx(0.6)]]
    assert data(one) == [[5.0], [0.5]]
    assert len(ax.collections) == 1  # a band where there are two seeds
    assert (ax.get_xlabel(), two.get_label(), one.get_label()) == ("minutes", "two", "one")


def test_many_runs_share_four_line_styles():
    ax = plots.learning_curves({str(i): [history(0.5, 0.5)] for i in range(6)}, window=1)
    styles = [line.get_linestyle() for line in ax.lines]
    assert len(styles) == 6
    assert len(set(styles[:4])) == 4
    assert styles[4:] == styles[:2]


def test_a_run_shorter_than_the_window_is_an_empty_curve():
    ax = plots.learning_curves({"short": [history(0.5, 0.5)]}, window=50)
    assert data(ax.lines[0]) == [[], []]


def test_accuracy_bars_show_means_and_intervals():
    scores = {
        "learner": Scores(torch.tensor([1.0, 0.8, 0.9], dtype=torch.float64)),
        "yardstick": Scores(torch.tensor([0.5, 0.5], dtype=torch.float64)),
    }
    ax = plots.accuracy_bars(scores, chance=0.2)
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([0.9, 0.5])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["learner", "yardstick"]
    assert texts(ax) == ["0.900", "0.500"]
    assert legend(ax) == ["chance"]
    chance = next(line for line in ax.lines if line.get_label() == "chance")
    assert data(chance)[0] == [0.2, 0.2]
    (errors,) = ax.collections
    (low, high), _ = (segment[:, 0] for segment in errors.get_segments())
    assert (high - low) / 2 == pytest.approx(scores["learner"].interval)
    assert ax.yaxis_inverted()
    assert plots.accuracy_bars(scores).get_legend() is None


def test_episode_images_show_every_image_and_answer():
    tasks, shots, queries, side = 2, 3, 2, 4
    train_x = torch.arange(6.0).view(6, 1, 1, 1).expand(-1, 1, side, side)
    test_x = 10 + torch.arange(4.0).view(4, 1, 1, 1).expand(-1, 1, side, side)
    test_y, answers = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 0])
    ax = plots.episode_images(train_x, test_x, test_y, answers, tasks=tasks)
    canvas = -np.ma.filled(ax.images[0].get_array(), np.nan)
    rows = [canvas[1], canvas[1 + side + side // 2]]
    for row, want in zip(rows, ([0, 1, 2, 10, 11], [3, 4, 5, 12, 13]), strict=True):
        shown = row[~np.isnan(row)]
        assert len(shown) == (shots + queries) * side
        assert shown[::side].tolist() == want
    assert texts(ax) == ["0", "x 1", "0", "1", "x 0", "1"]


def test_association_map_shows_the_association_and_boundaries():
    association = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]])
    ax = plots.association_map(association, boundaries=[2])
    np.testing.assert_allclose(ax.images[0].get_array(), association.numpy())
    assert [data(line)[0] for line in ax.lines] == [[1.5, 1.5]]
    assert [axes.get_ylabel() for axes in ax.figure.axes[1:]] == ["association"]


def matrix(tasks: int) -> AccuracyMatrix:
    values = torch.rand(tasks, tasks, generator=torch.Generator().manual_seed(tasks), dtype=torch.float64)
    above = torch.ones(tasks, tasks, dtype=torch.bool).triu(1)
    return AccuracyMatrix(values.masked_fill(above, torch.nan), episodes=1)


def test_the_accuracy_matrix_is_a_grey_image_with_numbers():
    shown = matrix(3)
    ax = plots.accuracy_matrix(shown)
    image = ax.images[0]
    np.testing.assert_equal(np.ma.filled(image.get_array(), np.nan), shown.values.numpy())
    assert image.get_clim() == (0, 1)
    colours = image.cmap(np.linspace(0, 1, 5))[:, :3]
    assert (colours == colours[:, :1]).all()  # grey
    assert texts(ax) == [f"{shown.values[i, j]:.2f}" for i in range(3) for j in range(i + 1)]
    for text in ax.texts:
        column, row = (int(place) for place in text.get_position())
        assert text.get_color() == ("black" if shown.values[row, column] > 0.5 else "white")
    assert {text.get_color() for text in ax.texts} == {"black", "white"}
    assert ax.patch.get_hatch()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("task asked of", "last task read")
    assert [axes.get_ylabel() for axes in ax.figure.axes[1:]] == ["accuracy"]


def test_a_large_accuracy_matrix_has_no_numbers():
    assert texts(plots.accuracy_matrix(matrix(11))) == []


def test_anytime_accuracy_is_a_line_for_each_learner():
    matrices = {"one": matrix(3), "other": matrix(5)}
    ax = plots.anytime_accuracy(matrices)
    for line, shown in zip(ax.lines, matrices.values(), strict=True):
        assert data(line) == [list(range(1, shown.tasks + 1)), shown.anytime_accuracy.tolist()]
    assert len({line.get_linestyle() for line in ax.lines}) == 2
    assert legend(ax) == ["one", "other"]
    assert "tasks read" in ax.get_xlabel()


def test_reliability_shows_filled_bins_and_their_share():
    confidences = torch.tensor([0.2, 0.4, 0.9, 0.9], dtype=torch.float64)
    calibration = Calibration.of(confidences, torch.tensor([True, False, True, True]), bins=4)
    ax = plots.reliability(calibration)
    assert [bar.get_height() for bar in ax.patches] == [0.25, 0.25, 0, 0.5]
    assert [bar.get_x() for bar in ax.patches] == pytest.approx([0, 0.25, 0.5, 0.75])
    calibrated, answers = ax.lines
    assert data(calibrated) == [[0, 1], [0, 1]]
    assert data(answers) == [pytest.approx([0.2, 0.4, 0.9]), [1.0, 0.0, 1.0]]
    assert sorted(legend(ax)) == ["answers (ECE 0.350)", "calibrated", "share of answers"]
    assert (ax.get_xlabel(), ax.get_xlim(), ax.get_ylim()[0]) == ("confidence", (0, 1), 0)


def test_axes_given_are_drawn_on():
    _, axes = plt.subplots(1, 5)
    assert plots.learning_curves({"a": [history(0.5)]}, axes[0], window=1) is axes[0]
    assert plots.association_map(torch.ones(2, 2) / 2, axes[1]) is axes[1]
    assert plots.accuracy_matrix(matrix(2), axes[2]) is axes[2]
    assert plots.anytime_accuracy({"a": matrix(2)}, axes[3]) is axes[3]
    answer = Calibration.of(torch.ones(1), torch.ones(1) > 0)
    assert plots.reliability(answer, axes[4]) is axes[4]
    assert len(plt.get_fignums()) == 1
    plots.accuracy_bars({"a": Scores(torch.ones(3))})
    assert len(plt.get_fignums()) == 2


def test_save_writes_the_whole_figure_and_closes_it(tmp_path: Path):
    figure = plt.figure(figsize=(4, 2))
    left, right = figure.subfigures(1, 2)
    right.subplots()
    ax = plots.association_map(torch.eye(3), left.subplots())
    plots.save(ax, tmp_path / "figure.png")
    assert plt.imread(tmp_path / "figure.png").shape[:2] == (300, 600)
    assert plt.get_fignums() == []


def test_a_figure_that_cannot_be_written_is_closed_as_well(tmp_path: Path):
    with pytest.raises(OSError, match="missing"):
        plots.save(plots.association_map(torch.eye(3)), tmp_path / "missing" / "figure.png")
    assert plt.get_fignums() == []


def test_errors_are_drawn_from_white_and_told_behind_their_bars():
    R = torch.tensor([[0.0, torch.nan], [0.5, 0.25]], dtype=torch.float64)
    ax = plots.error_matrix(ErrorMatrix(R, 1))
    assert texts(ax) == ["0.00", "0.50", "0.25"]
    (image,) = ax.images
    assert image.get_clim() == (0, 0.5)
    assert image.get_cmap().name == "gray_r"
    ax = plots.error_bars({"a": Scores(torch.tensor([0.1, 0.1])), "b": Scores(torch.tensor([2.0, 2.0]))})
    assert texts(ax) == ["0.100", "2.000"]
    assert [text.get_position()[0] > 0.1 for text in ax.texts] == [True, True]
    assert ax.get_xlim()[1] > 2
    assert ax.get_xlabel() == "mean squared error"
    assert plots.error_bars({"a": Scores(torch.ones(2))}, label="1 - cos").get_xlabel() == "mean 1 - cos"
    angles = plots.error_matrix(ErrorMatrix(R, 1), label="1 - cos")
    assert "1 - cos" in [axes.get_ylabel() for axes in angles.figure.axes]


def test_vectors_have_a_curve_of_their_loss():
    steps = [StepRecord(i + 1, 1.0, 3.0 - i, None, None, 1.0, 1e-3, 1.0) for i in range(3)]
    ax = plots.learning_curves({"waves": [History(steps)]}, window=2)
    assert list(ax.lines[0].get_ydata()) == [2.5, 1.5]
    assert ax.get_ylabel() == "training loss (mean of 2 steps)"


def test_matrices_and_associations_may_be_arrays():
    R = np.array([[0.9, np.nan], [0.25, 0.75]])
    for draw in (plots.accuracy_matrix, plots.error_matrix):
        assert [text.get_text() for text in draw(R).texts] == ["0.90", "0.25", "0.75"]
    (line,) = plots.anytime_accuracy({"a": R}).lines
    np.testing.assert_allclose(line.get_ydata(), [0.9, 0.5])
    image = plots.association_map(np.eye(3)).images[0]
    np.testing.assert_array_equal(image.get_array(), np.eye(3))


def test_what_is_no_matrix_is_not_drawn():
    with pytest.raises(DtypeError, match="accuracy_matrix: `matrix` must hold numbers, got <U1"):
        plots.accuracy_matrix("x")
    with pytest.raises(ShapeError, match=r"got \(3,\)"):
        plots.error_matrix([1.0, 2.0, 3.0])
