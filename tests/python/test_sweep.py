"""Sweeps: what a file makes, choices on meta-validation, and the work on cells, in processes and here."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mambacl import commands
from mambacl.config import AttentionMixer, PrototypeConfig, SequenceConfig, VectorEncoder
from mambacl.errors import ConfigError, NonFiniteError, RunError
from mambacl.evaluation import evaluate_predictor
from mambacl.experiments.trained import load_run
from mambacl.experiments.training_run import TrainingRun, trained_run
from mambacl.report import ClassMeasurement
from mambacl.report.figures import draw
from mambacl.report.measurement import read_measurement
from mambacl.runs import RunFolder
from mambacl.runs.lock import held
from mambacl.sweeps import Outcome, Results, Sweep, read_sweep, schedule, table
from mambacl.sweeps import files as sweep_files
from mambacl.sweeps.advance import advance
from mambacl.sweeps.offline import OfflineTraining
from mambacl.sweeps.outcome import OnTest
from mambacl.sweeps.pace import Pace
from mambacl.sweeps.plan import choice, due, final, outcomes
from mambacl.training.meta_train import read_history
from mambacl.yardsticks import Offline
from shell import Shell

TINY = """
purpose = "Seconds."
experiment = "glyphs-mamba"

[model]
d_model = 16

[train]
steps = {steps}
batch_size = 2
validate_every = 2
validation_episodes = 4

[data]
tasks = 2
train_shots = 1
evaluation_test_shots = 2

[test]
episodes = 4
matrix_episodes = 2
"""
TWO_ROWS = """
[[learners]]
name = "mamba"
seeds = [0, 1]

[[learners]]
name = "prototype"
model = { kind = "prototype" }

[search]
"train.lr" = [1e-3, 4e-3]
"""
ONE_ROW = """
[[learners]]
name = "prototype"
model = { kind = "prototype" }
seeds = [0, 1]
"""


def written(folder: Path, rows: str, steps: int = 4) -> Path:
    file = folder / "tiny.toml"
    file.write_text(TINY.format(steps=steps) + rows)
    return file


def finish(sweep: Sweep, runs: Path, results: Results) -> list[str]:
    """Does all that is due, one after another, and names it."""
    done: list[str] = []
    while cells := due(sweep, outcomes(sweep, results)):
        advance(sweep, cells[0], runs, results)
        done.append(cells[0].name)
    return done


def test_a_file_makes_rows_and_cells(tmp_path: Path):
    sweep = read_sweep(written(tmp_path, TWO_ROWS))
    assert (sweep.name, sweep.purpose, sweep.test.episodes) == ("tiny", "Seconds.", 4)
    mamba, prototype = sweep.rows
    assert [cell.name for cell in mamba.cells] == [
        *("mamba-lr0.001-seed0", "mamba-lr0.001-seed1"),
        *("mamba-lr0.004-seed0", "mamba-lr0.004-seed1"),
    ]
    assert [cell.name for cell in mamba.searched] == ["mamba-lr0.001-seed0", "mamba-lr0.004-seed0"]
    assert [cell.name for cell in prototype.final(prototype.searched[1].values)] == [
        "prototype-lr0.004-seed0"
    ]
    models = [row.cells[0].experiment.model for row in sweep.rows]
    assert isinstance(models[0], SequenceConfig)
    assert isinstance(models[1], PrototypeConfig)
    assert [model.d_model for model in models] == [16, 16]  # what every learner has stays
    assert mamba.cells[2].experiment.train.lr == 4e-3


def test_rows_change_what_the_sweep_and_its_experiment_say(tmp_path: Path):
    (tmp_path / "base.toml").write_text(
        '[model]\nd_model = 32\n[model.encoder]\nkind = "vector"\ndim = 128\n'
    )
    file = tmp_path / "own.toml"
    file.write_text(
        'experiment = "base.toml"\n[data]\nkind = "hanzi21-features"\n'
        '[model]\nmixer = { kind = "mamba", d_state = 4 }\n'
        '[[learners]]\nname = "a"\ntrain = { lr = 0.1 }\n'
        'model = { mixer = { kind = "attention", n_head = 2 } }\n'
    )
    (row,) = read_sweep(file).rows
    (cell,) = row.cells
    assert isinstance(cell.experiment.model, SequenceConfig)
    assert cell.experiment.model.mixer == AttentionMixer(n_head=2)
    assert cell.experiment.model.encoder == VectorEncoder(128)
    assert (cell.experiment.model.d_model, cell.experiment.train.lr) == (32, 0.1)
    assert (row.searched, cell.name, cell.experiment.name) == ([], "a-seed0", "own-a")


def test_an_experiment_is_no_sweep(tmp_path: Path):
    file = tmp_path / "mine.toml"
    file.write_text("[model]\nd_model = 32\n[train]\nsteps = 4\n")
    with pytest.raises(ConfigError, match=r"mine\.toml` must name \[\[learners\]\], got none: it is an exp"):
        read_sweep(file)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("", "sweep: `learners` must name at least one, got none"),
        (f"{ONE_ROW}{ONE_ROW}", "the names of learners must be distinct, got 'prototype' twice"),
        ('[[learner]]\nname = "a"', r"no setting `sweep\.learner`; did you mean `sweep\.learners`\?"),
        (
            '[[learners]]\nname = "a"\nmodle = {}',
            r"`learners\[0\]\.modle`; did you mean `learners\[0\]\.model`",
        ),
        ('[[learners]]\nname = "a/b"', r"learners\[0\]: `name` must be of letters, .*, got 'a/b'"),
        (f"{ONE_ROW}train = {{ step = 3 }}", r"learner 'prototype': train: .* did you mean `train\.steps`\?"),
        (f"{ONE_ROW}[search]\n'train.rl' = [0.1]", r"learner 'prototype': train: .* `train\.rl`"),
        (f"{ONE_ROW}[search]\n'train.lr' = 0.1", r"search: must hold lists .*, got `train\.lr` = 0\.1"),
        (f"{ONE_ROW}[search]\nlr = [0.1]", r"search: must hold lists .*, got `lr` = \[0\.1\]"),
        (
            f"{ONE_ROW}[search]\n'train.lr' = []",
            r"search: `train\.lr` must have at least one value, got none",
        ),
        (
            f"{ONE_ROW}[search]\n'train.lr' = [0.1, 0.1]",
            r"search: `train\.lr` must have distinct values .*, got",
        ),
        (f"{ONE_ROW}[search]\n'train.lr' = [0.1, 0, 0.0]", r"`train\.lr` must have distinct values .*, got"),
        (f"{ONE_ROW}[search]\n'data.jitter' = [{{}}]", r"search: `data\.jitter` must have .* no tables, got"),
        (
            '[[learners]]\nname = "a"\nseeds = [1, 1]',
            r"`seeds of a` must be distinct numbers .*, got \[1, 1\]",
        ),
        ("[search]\nseeds = []\n" + ONE_ROW, r"`search\.seeds` must be distinct .* at least one, got \[\]"),
        ("[test.x]\n", "tiny.toml` cannot be read"),
    ],
)
def test_errors_are_told_before_any_training(tmp_path: Path, rows: str, message: str):
    text = TINY.format(steps=4) + rows if "[test.x]" not in rows else "a = = 1"
    (tmp_path / "tiny.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_sweep(tmp_path / "tiny.toml")


@pytest.mark.parametrize("name", ["episodes", "matrix_episodes"])
def test_a_test_of_one_episode_is_refused_before_any_training(tmp_path: Path, name: str):
    file = tmp_path / "tiny.toml"
    file.write_text(f"[test]\n{name} = 1\n{ONE_ROW}")
    with pytest.raises(ConfigError, match=f"test: `{name}` must be from 2 to 1,000,000, got 1"):
        read_sweep(file)
    file.write_text(f"[test]\n{name} = 2\n{ONE_ROW}")
    assert getattr(read_sweep(file).test, name) == 2


def test_values_are_chosen_on_validation_and_only_theirs_is_tested(tmp_path: Path):
    sweep, results = read_sweep(written(tmp_path, TWO_ROWS)), Results(tmp_path / "results")
    done = finish(sweep, tmp_path / "runs", results)
    known = outcomes(sweep, results)
    for row in sweep.rows:
        chosen = choice(row, known)
        scores = {cell.values: max(v[1] for v in known[cell.name].validations) for cell in row.searched}
        assert chosen == max(scores, key=lambda values: scores[values])
        tested = [cell for cell in row.cells if cell.name in known and known[cell.name].test is not None]
        assert tested == row.final(chosen)
    assert done[:2] == ["mamba-lr0.001-seed0", "mamba-lr0.004-seed0"]
    assert due(sweep, known) == []
    assert all(file.stat().st_size < 4096 for file in (tmp_path / "results" / "cells").iterdir())
    # The files alone tell all: nothing is due where the runs are not.
    assert outcomes(read_sweep(written(tmp_path, TWO_ROWS)), Results(tmp_path / "results")) == known


def test_the_better_validation_wins_and_equals_the_first(tmp_path: Path):
    sweep = read_sweep(written(tmp_path, TWO_ROWS))
    row = sweep.rows[0]
    low, high = row.searched
    made = {
        cell.name: outcome(cell.name, validations=((2, score, 0.1, 1.0),))
        for cell, score in ((low, 0.5), (high, 0.5))
    }
    assert choice(row, {low.name: made[low.name]}) is None
    assert choice(row, made) == low.values
    better = dataclasses.replace(made[high.name], validations=((2, 0.6, 0.1, 1.0), (4, 0.4, 0.1, 2.0)))
    assert choice(row, {**made, high.name: better}) == high.values
    diverged = dataclasses.replace(better, diverged="the loss is not finite")
    assert choice(row, {**made, high.name: diverged}) == low.values
    assert final(row, {**made, high.name: better}) == row.final(high.values)


def outcome(learner: str, **changes: Any) -> Outcome:
    fields: dict[str, Any] = {
        "learner": learner,
        "seed": 0,
        "values": {},
        "settings": {},
        "diverged": None,
        "steps": 4,
        "seconds": 2.0,
        "step_seconds": 0.5,
        "threads": 1,
        "jobs": 1,
        "validations": (),
        "parameters": 10,
        "state_bytes": {"20": 5, "100": 6},
        "inference": 7.0,
        "versions": {},
    }
    return Outcome(**{**fields, **changes})


def test_all_learners_are_timed_and_none_is_trained(tmp_path: Path):
    file, results = written(tmp_path, TWO_ROWS), tmp_path / "results"
    commands.sweep.run(commands.sweep.Sweep(str(file), results=results, pace=True))
    pace = Pace.read(results)
    assert pace is not None
    assert list(pace.step) == list(pace.episode) == ["mamba", "prototype"]
    assert all(seconds > 0 for seconds in (*pace.step.values(), *pace.episode.values()))
    assert sorted(path.name for path in results.iterdir()) == ["pace.json", "table.json", "table.md"]


def test_offline_training_is_a_yardstick_of_the_table(tmp_path: Path, capsys: Any):
    file, results = written(tmp_path, ONE_ROW), tmp_path / "results"
    commands.sweep.run(commands.sweep.Sweep(str(file), results=results, offline=2))
    measured = OfflineTraining.read(results)
    assert measured is not None
    sweep = read_sweep(file)
    model = sweep.rows[0].cells[0].experiment.model
    source = sweep.rows[0].cells[0].experiment.source("test")
    again = evaluate_predictor(Offline(model.encoder, model.d_model), source, 2)
    assert measured.scores.values.tolist() == pytest.approx(again.values.tolist(), abs=1e-5)
    text = (results / "table.md").read_text()
    assert f"| offline training | {again} (over 2 episodes) |" in text
    assert json.loads((results / "table.json").read_text())["offline_training"]["episodes"] == 2
    (results / "offline.json").write_text("{")
    with pytest.raises(RunError, match=r"offline\.json"):
        table.write(sweep, Results(results))


def test_learners_are_timed_with_the_values_chosen(tmp_path: Path):
    search = '[search]\n"train.batch_size" = [2, 3]\n'
    sweep = read_sweep(written(tmp_path, f"{ONE_ROW}{search}"))
    assert Pace.measure(sweep, {}, turns=1).batch_size == {"prototype": 2}  # nothing is chosen: the first
    known = {
        cell.name: outcome(
            cell.name, validations=((2, dict(cell.values)["train.batch_size"] / 10, 0.1, 1.0),)
        )
        for cell in sweep.rows[0].searched
    }
    assert Pace.measure(sweep, known, turns=1).batch_size == {"prototype": 3}


def test_a_cell_goes_on_where_its_run_is(tmp_path: Path):
    sweep, results = read_sweep(written(tmp_path, ONE_ROW)), Results(tmp_path / "results")
    cell = sweep.cells[0]
    TrainingRun.begin(cell.experiment, 0, tmp_path / cell.name, resume=False).train(2, progress=False)
    before = read_history(RunFolder.open(tmp_path / cell.name)).steps
    begun = json.loads((tmp_path / cell.name / "run.json").read_text())
    del begun["settings"]["data"]["compound"]  # as of a version without it
    (tmp_path / cell.name / "run.json").write_text(json.dumps(begun))
    advance(sweep, cell, tmp_path, results)
    after = read_history(RunFolder.open(tmp_path / cell.name)).steps
    assert (len(before), len(after)) == (2, 4)
    assert after[:2] == before  # with the seconds they took: they were not done again
    found = results.read(cell)
    assert found is not None
    assert found.test is not None
    assert (found.steps, found.test.queries, len(found.test.right)) == (4, 4, 4)
    measured = json.loads((tmp_path / cell.name / "evaluations" / "test-2x1.json").read_text())
    assert found.test.scores.values.tolist() == measured["accuracy"]


def test_a_run_that_was_interrupted_is_trained_to_its_end_before_it_is_asked(tmp_path: Path):
    cell = read_sweep(written(tmp_path, ONE_ROW)).cells[0]
    TrainingRun.begin(cell.experiment, 0, tmp_path / "run", resume=False).train(2, progress=False)
    trained_run(cell.experiment, 0, tmp_path / "run")
    assert RunFolder.open(tmp_path / "run").done == 4


def test_streams_in_another_order_are_tested_without_a_matrix(tmp_path: Path):
    row = f"{ONE_ROW}data = {{ order = 'mixture', train_shots = 2 }}"
    sweep, results = (
        read_sweep(written(tmp_path, row.replace("[0, 1]", "[0]"))),
        Results(tmp_path / "results"),
    )
    (cell,) = sweep.cells
    found = advance(sweep, cell, tmp_path, results)
    assert isinstance(found.test, OnTest)
    assert (found.test.forgetting, len(found.test.task_accuracy)) == (None, 2)
    assert results.read(cell) == found
    trained = load_run(tmp_path / cell.name)
    measured = read_measurement(tmp_path / cell.name, "test-2x2")
    assert isinstance(measured, ClassMeasurement)
    assert (measured.matrix, measured.matrix_episodes) == ([], 0)
    assert sorted(file.name for file in draw(trained, measured).iterdir()) == [
        *("accuracy.png", "learning_curve.png")  # neither R nor an episode, whose rows are tasks
    ]


def test_training_that_diverges_is_an_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sweep, results = read_sweep(written(tmp_path, ONE_ROW)), Results(tmp_path / "results")

    def diverge(*_: object, **__: object) -> None:
        raise NonFiniteError("train: the loss is not finite at step 3")

    monkeypatch.setattr(TrainingRun, "train", diverge)
    found = advance(sweep, sweep.cells[0], tmp_path / "runs", results)
    assert (found.diverged, found.complete, found.test) == (
        "train: the loss is not finite at step 3",
        True,
        None,
    )
    assert due(sweep, outcomes(sweep, results)) == sweep.cells[1:]


def test_outcomes_of_other_settings_are_refused(tmp_path: Path):
    sweep, results = read_sweep(written(tmp_path, ONE_ROW)), Results(tmp_path / "results")
    advance(sweep, sweep.cells[0], tmp_path / "runs", results)
    other = read_sweep(written(tmp_path, ONE_ROW, steps=6))
    with pytest.raises(RunError, match=r"prototype-seed0\.json` is of other settings"):
        outcomes(other, results)
    results.file(sweep.cells[0]).write_text("{}")
    with pytest.raises(RunError, match=r"cannot be read: outcome: the setting `outcome\.learner` is missing"):
        outcomes(sweep, results)


def test_a_failed_cell_is_told_at_the_end_and_tried_again(shell: Shell, tmp_path: Path):
    sweep = read_sweep(written(tmp_path, ONE_ROW))
    places = ("--runs", tmp_path / "runs", "--results", tmp_path / "results")
    command = ("sweep", tmp_path / "tiny.toml", *places)
    taken = tmp_path / "runs" / "prototype-seed0"
    RunFolder.create(taken, {"a": 1})
    told = shell.fails(*command, "--jobs", "2")
    assert "1 cells failed" in told
    assert "prototype-seed0: run: `" in told
    assert f"(see {tmp_path / 'runs' / 'prototype-seed0.log'})" in told
    assert list(outcomes(sweep, Results(tmp_path / "results"))) == ["prototype-seed1"]
    assert "seed 0 is left" in (tmp_path / "results" / "table.md").read_text()
    (taken / "run.json").unlink()
    before = (tmp_path / "runs" / "prototype-seed1.log").stat()
    said = shell(*command)
    assert (tmp_path / "runs" / "prototype-seed1.log").stat() == before
    table = json.loads((tmp_path / "results" / "table.json").read_text())
    assert [run["seed"] for run in table["learners"][0]["runs"]] == [0, 1]
    results = tmp_path / "results"
    assert said.splitlines()[-2:] == [
        f"Cells: 1 was in {results} already, 1 was trained now",
        f"Written to {results / 'table.md'}",
    ]
    again = (
        f"Cells: 2 were in {results} already, none was trained now; `--results DIR --runs DIR` begins anew"
    )
    assert again in shell(*command)


def waited(file: Path) -> None:
    """Until a run has steps."""
    for _ in range(600):
        if file.exists() and file.stat().st_size:
            return
        time.sleep(0.1)
    raise AssertionError(f"no step in {file}")


def test_ctrl_c_stops_all_and_leaves_all_resumable(tmp_path: Path):
    sweep = read_sweep(written(tmp_path, ONE_ROW, steps=100_000))
    places = ("--runs", tmp_path / "runs", "--results", tmp_path / "results", "--jobs", "2")
    command = [sys.executable, "-m", "mambacl", "sweep", str(tmp_path / "tiny.toml"), *map(str, places)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        for cell in sweep.cells:
            waited(tmp_path / "runs" / cell.name / "log.jsonl")
        for _ in range(2):  # as `timeout` does; what the cells save is not cut short
            running.send_signal(signal.SIGINT)
            time.sleep(0.02)
        _, told = running.communicate()
    assert running.returncode == 130
    assert "the same command goes on" in told
    for cell in sweep.cells:
        run = RunFolder.open(tmp_path / "runs" / cell.name)
        with run.locked():  # its process is no more
            assert run.checkpoints()


def test_a_worker_ends_with_the_process_that_started_it(tmp_path: Path):
    file = written(tmp_path, ONE_ROW, steps=100_000)
    command = [sys.executable, "-m", "mambacl.sweeps.worker", str(file), "prototype-seed0"]
    told = [str(tmp_path), str(tmp_path), "1", "cpu"]
    with subprocess.Popen([*command, *told], stdin=subprocess.PIPE) as worker:
        waited(tmp_path / "prototype-seed0" / "log.jsonl")
        assert worker.stdin is not None
        worker.stdin.close()
        assert worker.wait() == 130
    assert RunFolder.open(tmp_path / "prototype-seed0").checkpoints()


def test_two_sweeps_on_one_folder(tmp_path: Path):
    sweep = read_sweep(written(tmp_path, ONE_ROW))
    with held(tmp_path, "test"), pytest.raises(RunError, match="another process works on it in `"):
        schedule.run(sweep, tmp_path / "tiny.toml", tmp_path, Results(tmp_path), jobs=1)
    with pytest.raises(ConfigError, match="`--jobs` must be at least 1, got 0"):
        schedule.run(sweep, tmp_path / "tiny.toml", tmp_path, Results(tmp_path), jobs=0)


def test_a_reader_that_has_had_enough(shell: Shell, monkeypatch: pytest.MonkeyPatch):
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        with pytest.raises(SystemExit) as stop:
            shell("list")
        pipe.flush()  # as at the exit of a process: nothing is told again
    assert stop.value.code == 141


@pytest.mark.parametrize("name", sweep_files.names())
def test_every_sweep_of_the_package_makes_its_experiments(name: str):
    sweep = read_sweep(sweep_files.sweep_file(name))
    assert sweep.name == name
    assert len(sweep.purpose) > 20


def test_a_sweep_of_the_package_is_found_by_its_name_alone(shell: Shell):
    assert "none named 'features-5x'; did you mean 'features-5x5'" in shell.fails("sweep", "features-5x")
