"""The command line from training to comparison, in small, and what goes wrong."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, get_args

import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from torch import Tensor

import mambacl
from mambacl import cli, plots
from mambacl.commands import evaluate
from shell import Shell

SMALL = [
    *("--set", "data.tasks=2"),
    *("--set", "data.train_shots=1"),
    *("--set", "data.evaluation_test_shots=2"),
    *("--set", "model.d_model=16"),
    *("--set", "train.batch_size=2"),
    *("--set", "train.validation_episodes=2"),
    "--quiet",
]


def train(shell: Shell, folder: Path, *arguments: str, steps: int = 3) -> str:
    return shell("train", "glyphs-mamba", *SMALL, "--run-dir", folder, "--steps", str(steps), *arguments)


def test_train_evaluate_and_look(shell: Shell, tmp_path: Path):
    run = tmp_path / "runs" / "one"
    said = train(shell, run, "--seed", "7")
    assert "seed 7" in said
    assert f"Next: mambacl evaluate {run}" in said
    settings = json.loads((run / "run.json").read_text())["settings"]
    assert (settings["seed"], settings["data"]["tasks"], settings["train"]["steps"]) == (7, 2, 2000)
    assert len((run / "log.jsonl").read_text().splitlines()) == 3

    said = shell("evaluate", run, "--episodes", "4", "--matrix-episodes", "2")
    for text in (
        "nearest neighbour",
        "class mean",
        "forgetting (arXiv:1801.10112)",
        "calibration",
        "chance 0.500",
    ):
        assert text in said
    for figure in ("learning_curve", "accuracy", "accuracy_matrix", "episode"):
        pixels = plt.imread(run / "evaluations" / "test-2x1" / f"{figure}.png")[..., :3]
        assert (pixels < 0.5).mean() > 0.001, figure  # ink

    said = shell(
        *(
            "evaluate",
            run,
            "--tasks",
            "3",
            "--shots",
            "2",
            "--split",
            "validation",
            "--episodes",
            "4",
            "--json",
        )
    )
    measured: dict[str, Any] = json.loads(said)
    assert (measured["tasks"], measured["train_shots"], measured["step"]) == (3, 2, 3)
    assert len(measured["accuracy"]) == 4
    assert [len(row) for row in measured["matrix"]] == [1, 2, 3]
    assert json.loads((run / "evaluations" / "validation-3x2.json").read_text()) == measured


def test_the_measurement_of_a_checkpoint_leaves_that_of_the_best(shell: Shell, tmp_path: Path):
    train(shell, tmp_path)
    names: list[str] = []
    for options in ([], ["--checkpoint", "last"], ["--checkpoint", "3"]):
        said = shell("evaluate", tmp_path, *options, "--episodes", "2", "--matrix-episodes", "1", "--json")
        names.append(json.loads(said)["name"])
    assert names == ["test-2x1", "test-2x1-last", "test-2x1-step-3"]
    folder = tmp_path / "evaluations"
    assert sorted(file.stem for file in folder.glob("*.json")) == names
    assert all((folder / name / "accuracy.png").exists() for name in names)
    assert "Without" not in shell("compare", tmp_path, "--evaluation", "test-2x1-last")


def test_the_episode_drawn_is_of_the_sizes_measured(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    drawn: list[tuple[int, int]] = []
    draw = plots.episode_images

    def recording(train_x: Tensor, *others: Tensor, tasks: int) -> Axes:
        drawn.append((tasks, len(train_x)))
        return draw(train_x, *others, tasks=tasks)

    monkeypatch.setattr(plots, "episode_images", recording)
    train(shell, tmp_path)
    shell("evaluate", tmp_path, "--tasks", "3", "--shots", "2", "--episodes", "2", "--matrix-episodes", "1")
    assert drawn == [(3, 6)]


def test_a_run_goes_on(shell: Shell, tmp_path: Path):
    train(shell, tmp_path / "whole", steps=5)
    train(shell, tmp_path / "parts", steps=2)
    assert "another folder" in shell.fails("train", "glyphs-mamba", *SMALL, "--run-dir", tmp_path / "parts")
    train(shell, tmp_path / "parts", "--resume", steps=5)
    weights = [
        (tmp_path / name / "checkpoints" / "step-00000005" / "model.safetensors").read_bytes()
        for name in ("whole", "parts")
    ]
    assert weights[0] == weights[1]


def test_a_learner_is_exported(shell: Shell, tmp_path: Path):
    train(shell, tmp_path / "run")
    said = shell("export", tmp_path / "run", tmp_path / "model.safetensors", "--checkpoint", "last")
    trained = mambacl.load_run(tmp_path / "run", "last").learner
    assert "step 3" in said
    assert trained.fingerprint() in said
    assert mambacl.load_learner(tmp_path / "model.safetensors").fingerprint() == trained.fingerprint()
    assert "could not be written" in shell.fails("export", tmp_path / "run", tmp_path / "none" / "model")


def test_a_run_goes_on_as_it_began(shell: Shell, tmp_path: Path):
    train(shell, tmp_path, steps=1)
    said = shell.fails(
        *("train", "glyphs-mamba", *SMALL, "--run-dir", tmp_path, "--resume", "--set", "train.lr=1.0")
    )
    assert "has `train.lr` = 0.002, got 1.0" in said


def test_compare(shell: Shell, tmp_path: Path):
    runs = []
    for name, change in (("on", "0.5"), ("off", "0")):
        for seed in (0, 1):
            run = tmp_path / f"{name}-{seed}"
            train(shell, run, "--seed", str(seed), "--set", f"model.selectivity.weight={change}")
            runs.append(run)
    said = shell("compare", *runs)
    assert "Without test-2x1, see `mambacl evaluate`" in said
    for run in runs:
        shell("evaluate", run, "--episodes", "4", "--matrix-episodes", "2")
    figure = tmp_path / "figures" / "curves.png"
    said = shell("compare", *runs, "--plot", figure)
    assert said.rstrip().endswith(f"\n\nWritten to {figure}")
    assert "Without" not in said
    assert "model.selectivity.weight 0.5\n" in said
    assert "model.selectivity.weight 0.5 minus model.selectivity.weight 0" in said
    assert "over 2 seeds, paired" in said
    assert figure.stat().st_size > 5_000
    told = json.loads(shell("compare", *runs, "--json", "--plot", figure))
    assert [len(group["runs"]) for group in told["groups"]] == [2, 2]
    (difference,) = told["differences"].values()
    means = [[one["accuracy"] for one in group["runs"]] for group in told["groups"]]
    expected = sum(a - b for a, b in zip(*means, strict=True)) / 2
    assert difference["mean"] == pytest.approx(expected)
    assert "stands twice" in shell.fails("compare", runs[0], runs[0])
    assert "must be one of test-2x1, got 'test-2x9'" in shell.fails(
        "compare", *runs, "--evaluation", "test-2x9"
    )
    assert "got '../run'" in shell.fails("compare", *runs, "--evaluation", "../run")
    assert "test-2x1" in shell("compare", *runs, "--evaluation", "test-2x1")


def test_evaluate_tries_its_folder_before_it_measures(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    train(shell, tmp_path / "run")
    (tmp_path / "run" / "evaluations").write_text("no folder")
    monkeypatch.setattr(evaluate, "measure", lambda *_, **__: pytest.fail("it measured"))
    assert "evaluations" in shell.fails("evaluate", tmp_path / "run")


def test_offline_training_is_one_more_yardstick(shell: Shell, tmp_path: Path):
    train(shell, tmp_path / "run")
    sizes = ("--episodes", "4", "--matrix-episodes", "2", "--offline")
    said = shell("evaluate", tmp_path / "run", *sizes, "2")
    assert re.search(r"offline training +\d.*\(of the first 2 episodes\)", said)
    assert "the learner minus offline training" in said
    assert "must be 0, or from 2 to `episodes` = 4, got 5" in shell.fails(
        "evaluate", tmp_path / "run", *sizes, "5"
    )


def test_list_and_info(shell: Shell):
    said = shell("list")
    assert "glyphs-mamba\n" in said
    assert "Expected: " in said
    said = shell("info")
    assert mambacl.__version__ in said
    facts = json.loads(shell("info", "--json"))
    assert facts["learners"][0] == "sequence"
    assert {"mamba", "attention"} <= set(facts["mixers"])
    assert facts["simd"] in ("avx512", "avx2", "portable")
    assert facts["threads"] >= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "glyphs"], "none named 'glyphs'"),
        (["train", "glyphs-mamba", "--set", "train.step=3"], "did you mean `train.steps`?"),
        (["train", "glyphs-mamba", "--seed", "-1"], "`--seed` must be from 0 to 2^64 - 1, got -1"),
        (["train", "glyphs-mamba", "--steps", "5000"], "`--steps` must be from 1 to train.steps = 2000"),
        (["evaluate", "nowhere"], "`nowhere` must be the folder of a run"),
        (["compare"], "at least one folder, got none"),
        (["compare", "nowhere", "--plot", "curves.xyz"], "plot: `--plot` must end in one of"),
        (["train", "glyphs-mamba", "--seeds", "4..1"], "`--seeds` must be as 0..4 or 0,3,7"),
        (["train", "glyphs-mamba", "--seeds", "0..99999999999"], "at most 1000 of them"),
        (["train", "glyphs-mamba", "--seeds", "0,x"], "`--seeds` must be as 0..4 or 0,3,7"),
        (["train", "glyphs-mamba", "--seeds", "0..2,1"], "`--seeds` must be distinct"),
        (
            ["train", "glyphs-mamba", "--seeds", "0,1", "--jobs", "0"],
            "`--jobs` must be from 1 to 1,024, got 0",
        ),
        (["train", "glyphs-mamba", "--jobs", "2"], "`--jobs` is of `--seeds`, got 2 without it"),
        (["train", "glyphs-mamba", "--seeds", "0", "--seed", "1"], "`--seed` is of one run"),
        (["train", "glyphs-mamba", "--seeds", "0", "--run-dir", "r"], "`--run-dir` is of one run"),
        (["compare", "nowhere"], "`nowhere` must be the folder of a run"),
    ],
)
def test_what_goes_wrong_is_one_line(
    shell: Shell, arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    said = shell.fails(*arguments)
    assert message in said
    assert said.startswith("mambacl: ")
    assert said.count("\n") <= 3


COMMANDS = [get_args(command)[1].name for command in get_args(cli.Command)]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(shell: Shell, command: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        shell(command, "--help")
    assert f"mambacl {command}" in capsys.readouterr().out.split("For example", 1)[1]


@pytest.mark.parametrize("action", ["list", "show", "prepare"])
def test_help_on_data_sets_has_examples(shell: Shell, action: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        shell("data", action, "--help")
    assert f"mambacl data {action}" in capsys.readouterr().out.split("For example", 1)[1]


def test_every_command_is_tried():
    files = Path(cli.__file__).with_name("commands").glob("[!_]*.py")
    assert sorted(COMMANDS) == sorted(file.stem for file in files)


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path):
    command = [
        sys.executable,
        "-m",
        "mambacl",
        "train",
        "glyphs-mamba",
        *SMALL[:-1],
        "--run-dir",
        str(tmp_path),
    ]
    log = tmp_path / "log.jsonl"
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run:
        while not log.is_file() or b'"step"' not in log.read_bytes():
            assert run.poll() is None, run.communicate()  # it ended before
            time.sleep(0.05)
        run.send_signal(signal.SIGINT)
        said = run.communicate()[1]
    assert run.returncode == 130
    assert "step/s" not in said  # no bar, as this is no terminal
    assert f"stopped; saved in {tmp_path}; the same command with --resume goes on" in said
    assert list((tmp_path / "checkpoints").glob("step-*"))


def test_info_of_a_torch_without_cuda(shell: Shell, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.version.cuda", None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "torch_cuda    none, no GPU is there" in shell("info")


def test_episodes_that_cannot_be_drawn_are_told_before_a_folder_is_made(shell: Shell, tmp_path: Path):
    few = "experiment: each class in the {} split of hanzi21 must have at least `data.train_shots` + "
    for change, told in (
        ("data.train_shots=100", few.format("train")),
        ("data.tasks=0", "data: `tasks` must be from 1 to 100,000, got 0"),
        ("data.test_faces=['brush']", few.format("validation")),
    ):
        folder = tmp_path / "run"
        said = shell.fails(
            *("train", "glyphs-mamba", *SMALL, "--run-dir", folder, "--set", "data.train_shots=4"),
            *("--set", change),
        )
        assert told in said
        assert not folder.exists()
