"""Reports: groups of seeds, steps to an accuracy, paired differences, and files that cannot be read."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from matplotlib import pyplot as plt

from mambacl import plots
from mambacl.errors import RunError
from mambacl.evaluation import over_seeds, paired_difference
from mambacl.report import ClassMeasurement, VectorMeasurement, compare
from mambacl.report.comparison_table import as_json, table
from mambacl.report.group_names import Flat, flat, group_names
from mambacl.report.measurement import as_scores, prepare, read_measurement
from mambacl.report.summary import summary
from mambacl.runs import RunFolder
from mambacl.training.history import StepRecord, to_log

MEASURED = ClassMeasurement(
    name="test-2x1",
    experiment="small",
    seed=0,
    step=3,
    parameters=1234,
    state_bytes=56,
    split="test",
    tasks=2,
    train_shots=1,
    test_shots=5,
    episodes_sha256="0",
    accuracy=[0.8, 1.0],
    vocabulary_accuracy=[0.7, 0.9],
    nll=[0.5, 0.3],
    calibration_error=0.04,
    task_accuracy=[0.85, 0.95],
    matrix=[[1.0], [0.85, 0.95]],
    matrix_episodes=2,
    yardsticks={"nearest neighbour": [0.6, 1.0]},
)


OF_VECTORS = VectorMeasurement(
    name="test-2x1",
    experiment="small",
    seed=0,
    step=3,
    parameters=1234,
    state_bytes=56,
    split="test",
    tasks=2,
    train_shots=1,
    test_shots=5,
    episodes_sha256="0",
    error=[0.2, 0.1],
    task_error=[0.2, 0.1],
    metric="squared error",
    matrix=[[0.1], [0.2, 0.1]],
    matrix_episodes=2,
    yardsticks={"zero": [0.6, 1.0]},
)


def run(folder: Path, seed: int, weight: float, accuracies: list[float]) -> Path:
    settings = {
        "seed": seed,
        "name": "small",
        "model": {"selectivity": {"weight": weight}},
        "train": {"lr": 1e-3},
        "data": {"tasks": 2, "train_shots": 1},
    }
    made = RunFolder.create(folder, settings)
    for i, accuracy in enumerate(accuracies):
        made.log.append(to_log(StepRecord(i + 1, 1.0, 1.0, None, accuracy, 1.0, 1e-3, 60.0 * i)))
    made.log.close()
    return folder


def measured(folder: Path, accuracy: list[float]) -> Path:
    prepare(folder)
    dataclasses.replace(MEASURED, accuracy=accuracy).save(folder)
    return folder


def rising(steps: int, reached: int) -> list[float]:
    """0.2 until a step, 0.9 from it on."""
    return [0.9 if step >= reached else 0.2 for step in range(1, steps + 1)]


def test_seeds_form_groups_and_medians_are_over_them(tmp_path: Path):
    runs = [run(tmp_path / f"on{s}", s, 0.5, rising(200, 60 + 10 * s)) for s in (1, 0, 2)]
    runs += [run(tmp_path / "off", 0, 0.0, rising(200, 150))]
    on, off = compare(runs).groups
    assert (on.name, off.name) == ("model.selectivity.weight 0.5", "model.selectivity.weight 0.0")
    assert [member.seed for member in on.members] == [0, 1, 2]
    # A window of 50 averages over 0.2 and 0.9: 0.5 is reached with 22 of them high, 0.8 with 43.
    assert on.members[0].steps_to == [81, 102]
    assert [on.median_steps_to(level) for level in (0, 1)] == [91, 112]


def test_a_level_that_half_of_the_seeds_never_reach_has_no_median(tmp_path: Path):
    runs = [run(tmp_path / str(seed), seed, 0.5, [0.6] * 80) for seed in (0, 1)]
    (group,) = compare(runs).groups
    assert [group.median_steps_to(level) for level in (0, 1)] == [50, None]
    assert group.name == "small"
    assert "-" in table(compare(runs)).splitlines()[-3]


def test_differences_are_paired_by_seed(tmp_path: Path):
    runs = [measured(run(tmp_path / f"on{s}", s, 0.5, [0.5]), [0.8, 0.9 + s / 100]) for s in (0, 1, 2)]
    runs += [measured(run(tmp_path / f"off{s}", s, 0.0, [0.5]), [0.7, 0.6]) for s in (2, 0, 1)]
    comparison = compare(runs)
    (difference,) = comparison.differences.values()
    expected = over_seeds([0.85 - 0.65 + s / 200 for s in (0, 1, 2)])
    assert difference is not None
    assert (difference.mean, difference.half_width) == pytest.approx((expected.mean, expected.half_width))
    assert "+0.205 ± 0.012 (over 3 seeds, paired)" in table(comparison)
    assert as_json(comparison)["groups"][1]["accuracy"]["mean"] == pytest.approx(0.65)


def test_one_run_each_is_paired_over_its_episodes(tmp_path: Path):
    runs = [
        measured(run(tmp_path / "on", 0, 0.5, [0.5]), [0.8, 0.9, 0.7]),
        measured(run(tmp_path / "off", 0, 0.0, [0.5]), [0.7, 0.6, 0.7]),
    ]
    comparison = compare(runs)
    (difference,) = comparison.differences.values()
    expected = paired_difference(as_scores([0.8, 0.9, 0.7]), as_scores([0.7, 0.6, 0.7]))
    assert difference == expected
    assert f"{expected.told('+.3f')} (over 3 episodes, given these two predictors)" in table(comparison)


def named(name: str, mixer: dict[str, Any], **train: float) -> Flat:
    encoder = {"kind": "vector", "dim": 8} if name == "features" else {"kind": "cnn", "image_size": 32}
    model = {"kind": "sequence", "encoder": encoder, "mixer": mixer}
    return flat({"name": name, "model": model, "train": {"lr": 0.001, **train}})


MAMBA, ATTENTION = {"d_state": 16, "kind": "mamba"}, {"n_head": 8, "d_state": 1, "kind": "attention"}


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        pytest.param([named("glyphs", MAMBA)], ["glyphs"], id="one group"),
        pytest.param(
            [named("glyphs", MAMBA, steps=20), named("glyphs", ATTENTION, steps=30)],
            [
                "model.mixer.kind mamba, train.steps 20",
                "model.mixer.kind attention, train.steps 30",
            ],
            id="two kinds",
        ),
        pytest.param(
            [named("glyphs", MAMBA), named("glyphs", MAMBA | {"d_state": 64}), named("glyphs", ATTENTION)],
            [
                "model.mixer.d_state 16, model.mixer.kind mamba",
                "model.mixer.d_state 64, model.mixer.kind mamba",
                "model.mixer.kind attention",
            ],
            id="two of one kind",
        ),
        pytest.param(
            [named("glyphs", MAMBA), named("features", ATTENTION, steps=30)],
            ["glyphs", "features"],
            id="two experiments",
        ),
        pytest.param(
            [named("glyphs", MAMBA), named("glyphs", MAMBA, lr=0.1), named("features", MAMBA, lr=0.1)],
            ["glyphs, train.lr 0.001", "glyphs, train.lr 0.1", "features"],
            id="two of one experiment",
        ),
    ],
)
def test_groups_are_called_by_what_tells_them_apart(groups: list[Flat], expected: list[str]):
    assert group_names(groups) == expected


def test_what_cannot_be_paired_says_so(tmp_path: Path):
    one = measured(run(tmp_path / "on", 0, 0.5, [0.5]), [0.8, 0.9])
    others = [
        measured(run(tmp_path / "seed", 1, 0.0, [0.5]), [0.8, 0.9]),
        measured(run(tmp_path / "count", 0, 0.0, [0.5]), [0.8, 0.9, 0.7]),
        run(tmp_path / "unmeasured", 0, 0.0, [0.5]),
    ]
    others.append(run(tmp_path / "other episodes", 0, 0.0, [0.5]))
    prepare(others[-1])
    dataclasses.replace(MEASURED, episodes_sha256="1").save(others[-1])
    for other in others:
        assert "on the same episodes" in table(compare([one, other])), other


def test_curves_of_unequal_length_end_with_the_shortest(tmp_path: Path):
    runs = [run(tmp_path / str(seed), seed, 0.5, [0.6] * (80 + 20 * seed)) for seed in (0, 1)]
    (group,) = compare(runs).groups
    ax = plots.learning_curves({group.name: [member.history for member in group.members]})
    assert list(ax.lines[0].get_xdata())[-1] == 80
    plt.close(ax.figure.figure)


def test_a_measurement_comes_back(tmp_path: Path):
    prepare(tmp_path)
    MEASURED.save(tmp_path)
    assert read_measurement(tmp_path, "test-2x1") == MEASURED
    assert read_measurement(tmp_path, "test-5x5") is None
    (tmp_path / "evaluations" / "test-5x5.json").write_text('{"name": "test-5x5"}')
    with pytest.raises(RunError, match=r"test-5x5\.json` cannot be read: KeyError"):
        read_measurement(tmp_path, "test-5x5")


def test_the_summary_says_what_was_measured():
    said = summary(MEASURED)
    for text in (
        "1,234 parameters, a state of 56 bytes",
        "2 tasks x 1 shots, 5 queries a task",
        "0.900 ± 0.196",  # 1.96 standard errors of 0.8 and 1.0
        "expected calibration error             0.040",
        "the learner minus nearest neighbour    +0.100 ± 1.271",  # t with one degree of freedom
        "backward transfer (arXiv:1706.08840)   -0.150",
        "mean accuracy on all tasks at the end  0.900",
        "R[i, j] is the accuracy on task j after task i, a mean over 2 episodes",
        "from the first task to the last: 1.00, 0.90",
    ):
        assert text in said, text


def test_of_many_tasks_the_summary_says_at_which_it_tells_the_score():
    matrix = [[1 / (i + 1)] * (i + 1) for i in range(20)]
    said = summary(dataclasses.replace(MEASURED, tasks=20, task_accuracy=matrix[-1], matrix=matrix))
    *_, curve = said.splitlines()
    places, values = curve.split("at tasks ")[1].split(": ")
    tasks = [int(place) for place in places.split(", ")]
    assert (tasks[0], tasks[-1], len(tasks)) == (1, 20, 10)
    assert values.split(", ") == [f"{1 / task:.2f}" for task in tasks]
    errors = [task / 100 for task in range(1, 21)]
    matrix = [errors[: i + 1] for i in range(20)]
    said = summary(dataclasses.replace(OF_VECTORS, tasks=20, task_error=errors, matrix=matrix))
    told = f"{', '.join(f'{task / 100:.3f}' for task in tasks)} (at tasks {places})"
    for name in ("by task, in the order of the stream", "right after each task was read"):
        (line,) = (line for line in said.splitlines() if name in line)
        assert line.endswith(told), line


def test_there_is_no_forgetting_of_a_single_task():
    said = summary(dataclasses.replace(MEASURED, tasks=1, task_accuracy=[0.9], matrix=[[0.9]]))
    assert "nan" not in said
    for name in ("backward transfer (arXiv:1706.08840)", "forgetting (arXiv:1801.10112)"):
        (line,) = (line for line in said.splitlines() if name in line)
        assert line.split()[-1] == "-"


def test_streams_that_return_to_a_task_have_no_matrix(tmp_path: Path):
    without = dataclasses.replace(MEASURED, matrix=[], matrix_episodes=0)
    assert without.accuracy_matrix is None
    prepare(tmp_path)
    without.save(tmp_path)
    assert read_measurement(tmp_path, "test-2x1") == without
    said = summary(without)
    assert "Streams that do not go task after task" in said
    assert "R[i, j]" not in said
    assert "forgetting" not in said
    assert "0.900 ± 0.196" in said


def test_runs_that_are_none(tmp_path: Path):
    with pytest.raises(RunError, match="at least one folder, got none"):
        compare([])
    with pytest.raises(RunError, match=r"must be the folder of a run, got no run\.json there"):
        compare([tmp_path])
    RunFolder.create(tmp_path / "own", {"a": 1})
    with pytest.raises(RunError, match=r"must hold the run of an experiment, got settings \['a'\]"):
        compare([tmp_path / "own"])
    same = [run(tmp_path / name, 0, 0.5, [0.5]) for name in ("one", "two")]
    with pytest.raises(RunError, match="seed 0 of the same settings stands twice"):
        compare(same)
