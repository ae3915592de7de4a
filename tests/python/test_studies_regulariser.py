"""The study of the regulariser: curves of training, and the table."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot as plt

from mambacl.studies.regulariser import Regulariser, TrainingCurve
from mambacl.studies.study import Told
from mambacl.sweeps import Outcome, read_sweep
from mambacl.sweeps.files import sweep_file
from mambacl.sweeps.outcome import OnTest
from mambacl.training import History
from mambacl.training.history import StepRecord


def history(accuracies: list[float]) -> History:
    records = [
        StepRecord(step, 1.0, 1.0, None, accuracy, 1.0, 1e-3, float(step))
        for step, accuracy in enumerate(accuracies, start=1)
    ]
    return History(records)


def outcome(learner: str, seed: int, right: list[int], rate: float) -> Outcome:
    test = OnTest(1000, 5, 10, "", tuple(right), (0.0, 0.0), (0.0, 0.0), 0.0, 0.0, (), {})
    return Outcome(
        learner, seed, {"train.lr": rate}, {}, None, 1000, 1.0, 1.0, 1, 1, (), 1, {}, 1.0, {}, test
    )


def told(learner: str, seed: int, right: list[int], rate: float = 1e-3) -> Told[TrainingCurve]:
    rises_at = 100 if "unguided" not in learner else 200
    curve = TrainingCurve.of(history([float(step > rises_at) for step in range(1, 301)]))
    return Told("regulariser", learner, curve, seed, outcome(learner, seed, right, rate))


def test_a_jump_is_found_when_half_and_most_of_a_window_are_behind_it():
    curve = TrainingCurve.of(history([float(step > 100) for step in range(1, 301)]))
    assert (curve.to_half, curve.to_most) == (125, 140)
    assert (curve.steps[0], curve.steps[-1]) == (50, 300)
    for step, accuracy in zip(curve.steps, curve.accuracy, strict=True):
        assert accuracy == min(1.0, max(0, step - 100) / 50)


def test_levels_that_are_never_reached_are_none():
    curve = TrainingCurve.of(history([0.6] * 120))
    assert (curve.to_half, curve.to_most) == (50, None)


@given(st.lists(st.floats(0, 1), max_size=400))
def test_a_thinned_curve_is_of_the_whole_one_and_ends_with_it(accuracies: list[float]):
    curve = TrainingCurve.of(history(accuracies))
    assert len(curve.steps) == len(curve.accuracy) <= 101
    window = max(1, min(50, len(accuracies) // 2))
    whole = {end: sum(accuracies[end - window : end]) / window for end in range(window, len(accuracies) + 1)}
    assert list(curve.steps) == sorted(curve.steps)
    for step, accuracy in zip(curve.steps, curve.accuracy, strict=True):
        assert abs(accuracy - whole[step]) < 1e-4
    assert not accuracies or curve.steps[-1] == len(accuracies)


def test_the_table_pairs_what_was_guided_with_what_was_not():
    answers = [
        told("mamba", 0, [9, 9, 8, 8]),
        told("mamba", 1, [9, 9, 9, 9]),
        told("mamba-unguided", 0, [7, 7, 6, 6], 4e-3),
        told("mamba-unguided", 1, [6, 6, 6, 6], 4e-3),
        told("mamba-lambda-2", 0, [8, 8, 7, 7]),
        told("transformer", 0, [9, 9, 9, 9]),
        told("linear-transformer", 0, [9, 9, 9, 9]),
        told("linear-transformer-unguided", 0, [9, 9, 9, 9]),
    ]
    report = Regulariser().report(answers)
    (table,) = report.tables.values()
    rows = {
        line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ") for line in table.splitlines()[2:]
    }
    # Differences of seeds: 0.2 and 0.3; t with 1 degree of freedom is 12.706, standard error 0.05.
    assert rows["mamba"][1:4] == ["0.001", "0.875 ± 0.318", "0.250 ± 0.635"]
    assert rows["mamba"][4:] == ["125, 125", "140, 140"]
    assert rows["mamba-unguided"] == [
        "mamba-unguided", "0.004", "0.625 ± 0.318", "", "225, 225", "240, 240"
    ]  # fmt: skip
    assert rows["mamba-lambda-2"][3] == "0.100 ± 0.000"  # of the seed that both have
    assert rows["transformer"][3] == ""  # there is none without
    assert rows["linear-transformer"][3] == "0.000 ± 0.000"  # with its own, not the Transformer's
    for name, axes in {"weights": 1, "variants": 1, "architectures": 3}.items():
        assert len(report.figures[name].axes) == axes
        plt.close(report.figures[name])


def test_weights_are_drawn_in_order_with_what_there_is():
    answers = [told("mamba-lambda-2", 0, [1, 1]), told("mamba", 0, [1, 1]), told("mamba-unguided", 0, [1, 1])]
    figures = Regulariser().report(answers).figures
    legend = figures["weights"].axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["0", "0.5, the default", "2"]
    for figure in figures.values():
        plt.close(figure)


def test_the_sweep_changes_one_factor_at_a_time():
    sweep = read_sweep(sweep_file("regulariser"))
    assert {len(row.experiments) for row in sweep.rows} == {3}
    assert [row.name for row in sweep.rows if len(row.seeds) == 3] == ["mamba", "mamba-unguided"]
    models = {row.name: next(iter(row.experiments.values())).model.to_json() for row in sweep.rows}
    assert len(set(models.values())) == len(models)
    weights = {"mamba-unguided": "0.0", "mamba": "0.5", "mamba-lambda-0.1": "0.1", "mamba-lambda-1": "1.0",
               "mamba-lambda-2": "2.0"}  # fmt: skip
    for name, weight in weights.items():
        assert models[name] == models["mamba"].replace('"weight": 0.5', f'"weight": {weight}')
