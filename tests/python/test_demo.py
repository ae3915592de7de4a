"""The command line: the demo from beginning to end, in small, and what goes wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from matplotlib import pyplot as plt

import mambacl
from mambacl import cli
from mambacl.demo import Demo
from mambacl.errors import ConfigError

SMALL = ["--steps", "3", "--tasks", "2", "--train-shots", "1", "--test-episodes", "4"]


def mambacl_command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["mambacl", *arguments])
    cli.main()


def test_the_demo_trains_tests_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "runs" / "demo"
    mambacl_command(monkeypatch, "demo", *SMALL, "--seed", "7", "--out", str(out))
    printed = capsys.readouterr().out
    names = [
        "MambaCL",
        "MambaCL, whole vocabulary",
        "nearest neighbour on pixels",
        "class mean on pixels",
    ]
    for text in (*names, "unseen characters", "chance 0.500", "95 % interval", str(out)):
        assert text in printed

    results = json.loads((out / "results.json").read_text())
    assert results["settings"] | {"seed": 7, "steps": 3, "tasks": 2, "out": str(out)} == results["settings"]
    assert list(results["scores"]) == names
    for score in results["scores"].values():
        assert 0 <= score["mean"] <= 1
        assert score["interval_95"] >= 0
    assert [record["step"] for record in results["steps"]] == [1, 2, 3]
    assert results["steps_to_accuracy"] == {"0.5": None, "0.8": None, "0.9": None}

    for figure in ("learning_curve.png", "accuracy.png", "episode.png"):
        pixels = plt.imread(out / figure)[..., :3]
        assert pixels.shape[0] > 300
        assert (pixels < 0.5).mean() > 0.001, figure  # ink


def test_the_demo_gives_the_same_numbers_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    results: list[dict[str, object]] = []
    for name in ("one", "other"):
        mambacl_command(monkeypatch, "demo", *SMALL, "--out", str(tmp_path / name))
        results.append(json.loads((tmp_path / name / "results.json").read_text()))
    assert results[0]["scores"] == results[1]["scores"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tasks", "65"], "demo: `tasks` must be at most the vocabulary, 64, got 65"),
        (["--weight", "-1"], "`selectivity.weight` must be a number of at least 0, got -1"),
        (["--steps", "0"], "train: `steps` must be at least 1, got 0"),
        (["--lr", "0"], "train: `lr` must be a positive number"),
        (["--train-shots", "0"], "`train_shots` must be at least 1, got 0"),
        (["--test-episodes", "1"], "demo: `test_episodes` must be at least 2, got 1"),
    ],
)
def test_a_bad_setting_is_one_line_and_a_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
):
    with pytest.raises(SystemExit) as caught:
        mambacl_command(monkeypatch, "demo", *SMALL, "--out", str(tmp_path), *arguments)
    text = str(caught.value.code)  # what `sys.exit` prints; the status is then 1
    assert text.startswith("mambacl: ")
    assert message in text
    assert "\n" not in text


@pytest.mark.parametrize("inside", ["", "demo"])
def test_a_file_in_the_way_is_told_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str
):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr("mambacl.demo.meta_train", lambda *args, **kwargs: pytest.fail("trained"))
    with pytest.raises(SystemExit) as caught:
        mambacl_command(monkeypatch, "demo", "--out", str(tmp_path / "file" / inside))
    text = str(caught.value.code)
    assert text.startswith("mambacl: ")
    assert str(tmp_path / "file") in text
    assert "\n" not in text
    assert (tmp_path / "file").read_text() == "in the way"


def test_an_interrupt_has_its_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mambacl.demo.meta_train", interrupt)
    with pytest.raises(SystemExit) as caught:
        mambacl_command(monkeypatch, "demo", "--out", str(tmp_path))
    assert caught.value.code == 130


def test_the_weight_zero_is_no_regulariser():
    assert Demo(weight=0.0).learner().config.selectivity is None
    selectivity = Demo(weight=0.25).learner().config.selectivity
    assert selectivity is not None
    assert selectivity.weight == 0.25
    with pytest.raises(ConfigError, match="tasks"):
        Demo(tasks=100).learner()


def test_splits_of_the_demo_share_no_class():
    names = [set(Demo().source(split, 1).classes.names) for split in ("train", "validation", "test")]
    assert [len(part) for part in names] == [2500, 363, 700]
    assert len(set.union(*names)) == 3563


def test_info_says_what_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    mambacl_command(monkeypatch, "info")
    printed = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert printed["mambacl"] == mambacl.__version__
    assert printed["torch"] == torch.__version__
    assert printed["simd"] in ("avx512", "avx2", "portable")
    assert int(printed["threads"]) == torch.get_num_threads()


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"]])
def test_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]):
    with pytest.raises(SystemExit) as caught:
        mambacl_command(monkeypatch, *arguments)
    assert caught.value.code == 0
    assert "demo" in capsys.readouterr().out


def test_an_unknown_command_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        mambacl_command(monkeypatch, "dream")
    assert caught.value.code == 2
    assert "dream" in capsys.readouterr().err
