"""`mambacl data`, and training on what it prepared."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from mambacl import experiments
from mambacl.data.sets import data_sets
from mambacl.errors import ConfigError
from shell import Shell
from tiny_sets import casia_hwdb, folder, saved


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MAMBACL_CACHE", str(tmp_path / "cache"))


def test_list_has_a_line_for_each(shell: Shell):
    lines = shell("data", "list").splitlines()
    for known in data_sets():
        (line,) = [line for line in lines if line.split()[0] == known.name]
        assert known.summary in line
        assert ("packaged" in line.split()) == known.packaged


def test_show_tells_the_source_and_counts_what_is_there(shell: Shell, tmp_path: Path):
    said = shell("data", "show", "folder")
    assert "ROOT/CLASS/IMAGE" in said
    assert "--root" in said
    folder(tmp_path)
    said = shell("data", "show", "folder", "--root", tmp_path)
    assert re.search(r"train +6 classes, 18 examples; of a class at least 3, median 3, at most 3", said)
    assert re.search(r"test +3 classes, 9 examples", said)
    assert re.search(r"validation +363 classes", shell("data", "show", "hanzi21"))


def test_what_is_wrong_is_one_line(shell: Shell, tmp_path: Path):
    casia_hwdb(tmp_path)
    for arguments, told in (
        (("show", "foldr"), "did you mean 'folder'"),
        (("show", "casia-hwdb", "--root", tmp_path), r"expected 1,020 \.gnt files in .*, found 3"),
        (("prepare", "omniglot"), "omniglot: a root folder is needed"),
        (("prepare", "folder", "--root", tmp_path, "--side", "0"), "mambacl: "),
    ):
        with pytest.raises(SystemExit, match=told):
            shell("data", *arguments)


def test_the_settings_that_prepare_prints_train_and_evaluate(shell: Shell, tmp_path: Path):
    for number in range(20):
        for example in range(2):
            colour = np.full((9, 9, 3), (9 * number, 99 * example, 9), np.uint8)
            saved(tmp_path / "root" / f"class {number}" / f"{example}.png", colour)
    said = shell("data", "prepare", "folder", "--root", tmp_path / "root", "--side", "16", "--quiet")
    assert len(list((tmp_path / "cache").iterdir())) == 3
    sizes = "tasks = 2\ntrain_shots = 1\ntest_shots = 1\nevaluation_test_shots = 1\n"
    snippet = said[said.index("[data]") :].replace("[data]\n", f"[data]\n{sizes}")
    file = tmp_path / "mine.toml"
    file.write_text(
        f"{snippet}\n[model]\nd_model = 16\n[train]\nsteps = 2\nbatch_size = 2\nvalidation_episodes = 2\n"
    )
    with pytest.raises(ConfigError, match=r"shape \(3, 16, 16\), as `data` of kind 'images' has"):
        experiments.load(str(file), ["model.encoder.image_size=32"])
    run = tmp_path / "run"
    shell("train", file, "--run-dir", run, "--quiet")
    said = shell("evaluate", run, "--episodes", "2", "--matrix-episodes", "1")
    assert "nearest neighbour" in said


def test_settings_of_images_are_checked():
    for change, told in (
        ("data.set=omniglott", "did you mean 'omniglot'"),
        ("data.side=0", r"data: `side` must be from 1 to 4,096, got 0"),
        ("data.mode=HSV", r"`data\.mode` must be 'L' or 'RGB', got 'HSV'"),
    ):
        changes = {"data.kind": "images", "data.set": "omniglot"} | dict([change.split("=")])
        with pytest.raises(ConfigError, match=told):
            experiments.load("glyphs-mamba", [f"{name}={value}" for name, value in changes.items()])
    with pytest.raises(ConfigError, match=r"`data\.set` is missing"):
        experiments.load("glyphs-mamba", ["data.kind=images"])
