"""Regression from an experiment's file to the table of a sweep, in small."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from mambacl import Learner, experiments
from mambacl.episodes.sine import SineEpisodes
from mambacl.errors import ConfigError, InvalidValueError, NonFiniteError, RunError
from mambacl.evaluation import SQUARED_ERROR, evaluate, over_seeds
from mambacl.experiments.trained import Trained, load_run, run_settings
from mambacl.experiments.training_run import TrainingRun
from mambacl.report import ClassMeasurement, VectorMeasurement, compare, measure
from mambacl.report.comparison_table import as_json, table
from mambacl.report.measurement import prepare, read_measurement
from mambacl.report.measuring import MEAN_TARGET, VECTOR_YARDSTICKS
from mambacl.runs import RunFolder
from mambacl.sweeps import Outcome, Results, Sweep, read_sweep
from mambacl.sweeps import table as tables
from mambacl.sweeps.advance import advance
from mambacl.sweeps.outcome import OnTest, VectorsOnTest
from mambacl.sweeps.plan import choice, due, outcomes
from mambacl.training.meta_train import read_history
from shell import Shell

CHANGES = [
    *("data.tasks=2", "data.train_shots=2", "data.evaluation_test_shots=2"),
    *("model.d_model=16", "model.encoder.hidden=[16]", "model.n_layer=1"),
    *("train.steps=6", "train.batch_size=2", "train.validate_every=2", "train.validation_episodes=4"),
]
SMALL = experiments.load("sine-mamba", CHANGES)
SIZES = ("--episodes", "4", "--matrix-episodes", "2")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A run of the small experiment, seed 0."""
    return begun(tmp_path_factory.mktemp("sine") / "run")


def begun(folder: Path, seed: int = 0, *changes: str) -> Trained:
    experiment = experiments.load("sine-mamba", [*CHANGES, *changes])
    TrainingRun.begin(experiment, seed, folder, resume=False).train(progress=False)
    return load_run(folder)


def test_the_file_is_the_benchmark():
    experiment = experiments.load("sine-mamba")
    source = experiment.source("train", 3)
    assert isinstance(source, SineEpisodes)
    assert (source.seed, source.spec.tasks, source.spec.train_shots, source.spec.test_shots) == (3, 10, 5, 2)
    assert experiment.source("test", tasks=20, train_shots=1).batch(0, 1).train_x.shape == (1, 20, 50)
    one, other = (experiment.source("test", seed).batch(2, 1).train_x for seed in (0, 1))
    assert torch.equal(one, other)
    assert experiment.metric is SQUARED_ERROR


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "sine-mamba",
            ["model.target.dim=49"],
            r"`model\.target` must be of kind 'vector' with `dim` = 50, .*, got VectorTarget\(dim=49\)",
        ),
        ("sine-mamba", ["model.target.kind=class"], r"as `data` of kind 'sine' has, got ClassTarget"),
        ("sine-mamba", ["model.encoder.dim=49"], r"must take inputs of shape \(50,\), .*, got \(49,\)"),
        ("sine-mamba", ["data.kind=hanzi21"], r"`model\.target\.kind` must be 'class', .*, got 'vector'"),
        ("sine-mamba", ["data.compound=2"], r"there is no setting `data\.compound`"),
        ("sine-mamba", ["model.kind=prototype"], "target"),
        ("glyphs-mamba", ["data.kind=sine"], r"`model\.target` must be of kind 'vector'"),
        (
            "rotation-mamba",
            ["model.target.dim=3"],
            r"`model\.target` must be of kind 'angle' with `dim` = 2, as `data` of kind 'rotation' has",
        ),
        ("rotation-mamba", ["model.target={kind='vector',dim=2}"], "'angle' with `dim` = 2, .*, got VectorT"),
        ("rotation-mamba", ["model.encoder.image_size=28"], r"must take inputs of shape \(1, 32, 32\)"),
        (
            "completion-mamba",
            ["model.target.dim=511"],
            r"'vector' with `dim` = 512, as `data` of kind 'completion' has, got VectorTarget\(dim=511\)",
        ),
        ("completion-mamba", ["model.target.kind=angle"], r"`model\.target` must be of kind 'vector'"),
        ("completion-mamba", ["model.encoder.dim=1024"], r"must take inputs of shape \(512,\)"),
        ("completion-mamba", ["data.jitter.scale=0.1"], r"there is no setting `data\.jitter`"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(name: str, changes: list[str], message: str):
    with pytest.raises(ConfigError, match=message):
        experiments.load(name, changes)


def test_episodes_that_cannot_be_drawn_are_told_before_a_folder_is_made(tmp_path: Path):
    with pytest.raises(ConfigError, match="`tasks` must be from 1 to 100,000, got 0"):
        experiments.load("sine-mamba", [*CHANGES, "data.tasks=0"])
    assert not any(tmp_path.iterdir())


def test_the_best_checkpoint_has_the_lowest_error(trained: Trained):
    validations = read_history(trained.run).validations
    assert [one.step for one in validations] == [2, 4, 6]
    assert trained.step == min(validations, key=lambda one: one.score).step


def test_a_measurement_of_vectors_comes_back(trained: Trained):
    measured = measure(trained, "validation", episodes=4, matrix_episodes=4)
    assert isinstance(measured, VectorMeasurement)
    source = SMALL.source("validation")
    errors: list[float] = []
    for index in range(4):
        episode = source.batch(index, 1)
        with torch.no_grad():
            learner = trained.learner
            state = learner.observe(learner.init_state(), episode.train_x, episode.train_y)
            errors.append(float((learner.predict(state, episode.test_x) - episode.test_y).square().mean()))
    assert measured.error == pytest.approx(errors, rel=1e-5)
    assert measured.task_error == pytest.approx(measured.matrix[-1], rel=1e-5)  # of as many episodes
    assert [len(row) for row in measured.matrix] == [1, 2]
    assert set(measured.yardsticks) == set(VECTOR_YARDSTICKS)
    assert all(len(values) == 4 for values in measured.yardsticks.values())
    prepare(trained.run.path)
    measured.save(trained.run.path)
    assert read_measurement(trained.run.path, "validation-2x2") == measured
    with pytest.raises(InvalidValueError, match="`offline_episodes` must be 0 where targets are vectors"):
        measure(trained, episodes=4, offline_episodes=2)


def test_long_streams_are_measured_a_few_at_a_time(trained: Trained, monkeypatch: pytest.MonkeyPatch):
    asked: set[int] = set()
    draw = SineEpisodes.batch

    def noted(source: SineEpisodes, first_index: int, batch_size: int) -> Any:
        asked.add(batch_size)
        return draw(source, first_index, batch_size)

    source = SMALL.source("test", tasks=50, train_shots=10)
    at_once = evaluate(trained.learner, source, 6, batch_size=6).score.values
    monkeypatch.setattr(SineEpisodes, "batch", noted)
    measured = measure(trained, tasks=50, train_shots=10, episodes=6, matrix_episodes=1)
    assert asked == {4, 2, 1}  # of 500 examples each, at most 2,000
    assert torch.equal(measured.scores.values, at_once)


def test_files_of_classes_are_read_as_before(tmp_path: Path):
    """As a version wrote them that knew classes only."""
    written = {
        **{"name": "test-2x1", "experiment": "glyphs-mamba", "seed": 0, "step": 3, "parameters": 12},
        **{"state_bytes": 56, "split": "test", "tasks": 2, "train_shots": 1, "test_shots": 5},
        **{"episodes_sha256": "0", "accuracy": [0.8, 1.0], "vocabulary_accuracy": [0.7, 0.9]},
        **{"nll": [0.5, 0.3], "calibration_error": 0.04, "task_accuracy": [0.85, 0.95]},
        **{"matrix": [[1.0], [0.85, 0.95]], "matrix_episodes": 2, "yardsticks": {"class mean": [0.6, 1.0]}},
    }
    (tmp_path / "evaluations").mkdir()
    (tmp_path / "evaluations" / "test-2x1.json").write_text(json.dumps(written))
    measured = read_measurement(tmp_path, "test-2x1")
    assert isinstance(measured, ClassMeasurement)
    assert dataclasses.asdict(measured) == written


def test_train_evaluate_and_compare(shell: Shell, tmp_path: Path):
    runs = {(rate, seed): tmp_path / f"{rate}-{seed}" for rate in ("1e-3", "4e-3") for seed in (0, 1)}
    for (rate, seed), run in runs.items():
        changes = [f"--set={change}" for change in (*CHANGES, f"train.lr={rate}")]
        said = shell("train", "sine-mamba", *changes, "--seed", str(seed), "--run-dir", run, "--quiet")
        best = min(one.score for one in read_history(RunFolder.open(run)).validations)
        assert f"the best meta-validation {best:.3f} (squared error) at step" in said
        said = shell("evaluate", run, *SIZES)
        for text in (
            "mean squared error ",
            "nearest input's target ",
            "the learner minus zero ",
            "by task, in",
        ):
            assert text in said
        for text in ("accuracy", "chance", "calibration"):
            assert text not in said.replace(str(run), "")
    figures = tmp_path / "1e-3-0" / "evaluations" / "test-2x2"
    assert {file.name for file in figures.iterdir()} == {
        *("learning_curve.png", "error.png", "error_matrix.png")
    }

    comparison = compare(list(runs.values()))
    low, _ = comparison.groups
    assert low.measured is not None
    assert low.score == over_seeds([one.scores.mean for one in low.measured.values()])
    said = table(comparison)
    assert "Squared error in test-2x2; lower is better." in said
    assert "accuracy" not in said
    assert re.search(r"train\.lr 0\.001 minus train\.lr 0\.004: [+-]\d", said)
    (group, _) = as_json(comparison)["groups"]
    assert group["squared_error"]["mean"] == low.score.mean
    assert group["runs"][0]["steps_to"] == {}
    shell("compare", *runs.values(), "--plot", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5_000


def test_errors_written_before_they_had_names_are_squared(trained: Trained):
    measured = measure(trained, "validation", episodes=2, matrix_episodes=2)
    prepare(trained.run.path)
    file = measured.save(trained.run.path)
    content = json.loads(file.read_text())
    assert content.pop("metric") == "squared error"
    file.write_text(json.dumps(content))
    assert read_measurement(trained.run.path, measured.name) == measured


SMALL_OF = {
    "rotation-mamba": ["model.encoder.channels=[4,4,4]"],
    "completion-mamba": ["model.encoder.hidden=[]"],
}


@pytest.mark.parametrize(
    ("name", "metric"), [("rotation-mamba", "1 - cos"), ("completion-mamba", "squared error")]
)
def test_characters_from_training_to_comparison(name: str, metric: str, shell: Shell, tmp_path: Path):
    changes = [change for change in CHANGES if "hidden" not in change] + SMALL_OF[name]
    run = tmp_path / "run"
    said = shell("train", name, *(f"--set={change}" for change in changes), "--run-dir", run)
    assert f"({metric}) at step" in said
    said = shell("evaluate", run, *SIZES)
    assert f"mean {metric} " in said
    assert f"Mean {metric} on the tasks read so far" in said
    figures = run / "evaluations" / "test-2x2"
    assert {file.name for file in figures.iterdir()} == {
        *("learning_curve.png", "error.png", "error_matrix.png")
    }
    measured = read_measurement(run, "test-2x2")
    assert isinstance(measured, VectorMeasurement)
    assert measured.metric == metric
    source = experiments.load(name, changes).source("test")
    for index in range(4):
        y = source.batch(index, 1).test_y.double()
        mean = source.batch(index, 1).train_y.double().mean(1, keepdim=True)
        cosine = (y * mean).sum(-1) / (y.norm(dim=-1) * mean.norm(dim=-1))
        error = (1 - cosine).mean() if metric == "1 - cos" else (y - mean).square().mean()
        assert measured.yardsticks[MEAN_TARGET][index] == pytest.approx(float(error), abs=1e-5)
    if metric == "1 - cos":
        assert measured.yardsticks["zero"] == [1] * 4
    comparison = compare([run])
    assert comparison.metric.name == metric
    assert table(comparison).startswith(f"{metric.capitalize()} in test-2x2;")
    assert as_json(comparison)["groups"][0][comparison.metric.key]["mean"] == measured.scores.mean


def test_angles_and_squares_are_not_compared(tmp_path: Path, trained: Trained):
    settings = run_settings(experiments.load("rotation-mamba"), 0)
    other = RunFolder.create(tmp_path / "rotation", settings)
    with pytest.raises(RunError, match="must be scored by squared error, as the first, got 1 - cos in"):
        compare([trained.run.path, other.path])


def test_errors_and_accuracies_are_not_compared(tmp_path: Path, trained: Trained):
    settings: dict[str, Any] = {"seed": 0, "name": "glyphs", "model": {}, "train": {}, "data": {}}
    other = RunFolder.create(tmp_path / "glyphs", settings)
    with pytest.raises(
        RunError, match=r"must be scored by squared error, as the first, got accuracy in `.*gly"
    ):
        compare([trained.run.path, other.path])


SWEEP = """
experiment = "base.toml"
seeds = [0, 1]

[[learners]]
name = "mamba"

[[learners]]
name = "bayes"
model = {{ kind = "bayes", d_latent = 8, d_hidden = 8 }}
seeds = [0]

[search]
"train.lr" = [1e-3, 4e-3]

[test]
episodes = 4
matrix_episodes = 2
{more}"""
BASE = """
[model]
d_model = 8
n_layer = 1
encoder = { kind = "vector", dim = 50 }
target = { kind = "vector", dim = 50 }
selectivity = { weight = 0.0 }

[train]
steps = 4
batch_size = 2
validate_every = 2
validation_episodes = 4

[data]
kind = "sine"
tasks = 2
train_shots = 1
evaluation_test_shots = 2
"""


def sweep(folder: Path, more: str = "") -> Sweep:
    (folder / "base.toml").write_text(BASE)
    (folder / "waves.toml").write_text(SWEEP.format(more=more))
    return read_sweep(folder / "waves.toml")


def test_a_sweep_chooses_by_the_lowest_error(tmp_path: Path):
    made, results = sweep(tmp_path), Results(tmp_path / "results")
    while cells := due(made, outcomes(made, results)):
        advance(made, cells[0], tmp_path / "runs", results)
    known = outcomes(made, results)
    for row in made.rows:
        lowest = {cell.values: min(v[1] for v in known[cell.name].validations) for cell in row.searched}
        chosen = choice(row, known)
        assert chosen == min(lowest, key=lambda values: lowest[values])
        for cell in row.final(chosen):
            test = known[cell.name].test
            assert isinstance(test, VectorsOnTest)
            measured = read_measurement(tmp_path / "runs" / cell.name, "test-2x1")
            assert measured is not None
            assert test.scores.values.tolist() == pytest.approx(measured.scores.values.tolist(), abs=1e-5)
    assert all(file.stat().st_size < 4096 for file in (tmp_path / "results" / "cells").iterdir())

    file = tables.write(made, results)
    said = file.read_text()
    assert "| learner | squared error | each seed |" in said
    assert "lower is better" in said
    assert "accuracy" not in said.lower()
    for name in VECTOR_YARDSTICKS:
        assert f"| {name} |" in said
    in_json = json.loads(file.with_suffix(".json").read_text())
    for row, told in zip(made.rows, in_json["learners"], strict=True):
        means = [known[cell.name].test for cell in row.final(choice(row, known) or ())]
        assert told["squared_error"]["mean"] == pytest.approx(
            sum(test.scores.mean for test in means if test) / len(means)
        )
        assert [one["squared_error"] for one in told["search"]] == [
            pytest.approx(known[cell.name].best_validation(SQUARED_ERROR)) for cell in row.searched
        ]
    assert in_json["first_minus"]["bayes"]["scope"].startswith("over 4 episodes")


def on_test(errors: tuple[float, ...], mean_target: float) -> VectorsOnTest:
    return VectorsOnTest(
        **{"step": 4, "tasks": 2, "queries": 4, "episodes_sha256": "0", "errors": errors, "forgetting": 0.1},
        task_error=(0.2, 0.3),
        yardsticks={"mean of the stream's targets": (mean_target, 0.01)},
    )


def test_the_plateau_is_the_mean_of_the_stream_s_targets():
    """Of .3 and .5 the standard error is .1."""
    assert not on_test((0.3, 0.5), 0.61).on_plateau
    assert on_test((0.3, 0.5), 0.59).on_plateau
    assert on_test((0.9, 0.9), 0.5).on_plateau


def test_a_diverged_cell_is_never_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made, results = sweep(tmp_path), Results(tmp_path / "results")
    row = made.rows[0]
    train = TrainingRun.train

    def diverge(run: TrainingRun, *_: object, **__: object) -> Any:
        if run.experiment.train.lr == 1e-3:
            raise NonFiniteError("train: the loss is not finite at step 3")
        return train(run, progress=False)

    monkeypatch.setattr(TrainingRun, "train", diverge)
    for cell in row.searched:
        advance(made, cell, tmp_path / "runs", results)
    known = outcomes(made, results)
    assert choice(row, known) == row.searched[1].values
    assert known[row.searched[0].name].best_validation(SQUARED_ERROR) == math.inf
    assert not known[row.searched[0].name].on_plateau
    file = tables.write(made, results)
    assert "| mamba | lr 0.001 | diverged |" in file.read_text()
    searched = json.loads(file.with_suffix(".json").read_text())["learners"][0]["search"]
    assert searched[0] == {"values": {"train.lr": 0.001}, "squared_error": None}


def test_a_table_has_one_kind_of_score(tmp_path: Path):
    glyphs = (
        '[[learners]]\nname = "glyphs"\ndata = { kind = "hanzi21" }\n'
        'model = { encoder = { kind = "cnn" }, target = { kind = "class" } }\n'
    )
    with pytest.raises(
        ConfigError, match=r"learner 'glyphs': must be scored by squared error, .* got accuracy"
    ):
        sweep(tmp_path, more=glyphs)


def test_outcomes_of_classes_are_read_as_before(tmp_path: Path):
    """As a version wrote them that knew classes only."""
    (tmp_path / "old.toml").write_text(
        'experiment = "features-mamba"\n[[learners]]\nname = "mamba"\n'
        'model = { mixer = { initial_decay = "published" } }\n'
    )
    (cell,) = read_sweep(tmp_path / "old.toml").cells
    settings = {"seed": 0, "name": "old-mamba", **experiment_table("features-mamba")}
    test = {
        **{"step": 2, "tasks": 5, "queries": 25, "episodes_sha256": "0", "right": [20, 25]},
        **{"vocabulary_accuracy": [0.9, 0.1], "nll": [0.3, 0.1], "calibration_error": 0.1},
        **{"forgetting": 0.1, "task_accuracy": [0.9] * 5, "yardsticks": {"class mean": [0.9, 0.1]}},
    }
    written = {
        **{"learner": "mamba", "seed": 0, "values": {}, "settings": settings, "diverged": None, "steps": 4},
        **{"seconds": 2.0, "step_seconds": 0.5, "threads": 1, "jobs": 2, "parameters": 10},
        **{"validations": [[2, 0.2, 0.01, 1.0]], "state_bytes": {"20": 5, "100": 6}, "inference": 7.0},
        **{"versions": {"mambacl": "0.1.0"}, "test": test},
    }
    results = Results(tmp_path)
    (tmp_path / "cells").mkdir()
    results.file(cell).write_text(json.dumps(written))
    outcome = results.read(cell)
    assert isinstance(outcome, Outcome)
    assert isinstance(outcome.test, OnTest)
    assert outcome.test.scores.values.tolist() == [0.8, 1.0]
    assert outcome.on_plateau


def experiment_table(name: str) -> dict[str, Any]:
    """Its tables, as TOML has them."""
    table = experiments.files.read_table(name)
    return {part: table[part] for part in ("model", "train", "data")}


def test_the_learner_keeps_a_state_of_fixed_size(trained: Trained):
    assert isinstance(trained.learner, Learner)
    measured = measure(trained, "validation", tasks=3, episodes=2, matrix_episodes=1)
    assert measured.state_bytes == trained.learner.init_state().nbytes
