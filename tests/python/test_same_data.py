"""A run remembers its data: files and folders that have changed since are told by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mambacl.errors import RunError
from mambacl.report import compare
from mambacl.runs import RunFolder
from shell import Shell
from tiny_sets import saved

FEATURES = np.random.default_rng(7).normal(size=(90, 6)).astype(np.float32)
LABELS = np.arange(90) % 15

COMMON = "[train]\nsteps = 4\nbatch_size = 1\nvalidation_episodes = 2\ncheckpoint_every = 2\n"
MODEL = '[model]\nkind = "prototype"\nd_model = 4\n[model.target]\nkind = "class"\nvocab = 4\n'


@pytest.fixture(autouse=True)
def _folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MAMBACL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def npz(scale: float = 1) -> None:
    np.savez("x.npz", features=scale * FEATURES, labels=LABELS)


def npy(last: int = 14) -> None:
    np.save("x.npy", FEATURES)
    np.save("y.npy", np.where(LABELS == 14, last, LABELS))


def images(side: int = 9) -> None:
    for number in range(20):
        for example in range(2):
            colour = np.full((side, side, 3), (9 * number, 99 * example, 9), np.uint8)
            saved(Path("root", f"class {number}", f"{example}.png"), colour)


VECTORS = '[model.encoder]\nkind = "vector"\ndim = 6\n[data]\nkind = "feature-file"\ndim = 6\n'
SIZES = "tasks = 2\ntrain_shots = 1\ntest_shots = 1\nevaluation_test_shots = 1\n"
KINDS: dict[str, tuple[str, Callable[[], None], Callable[[], None], str]] = {
    "npz": (VECTORS + 'file = "x.npz"\n', npz, lambda: npz(2), "the file x.npz"),
    "labels": (VECTORS + 'file = "x.npy"\nlabels = "y.npy"\n', npy, lambda: npy(15), "the file y.npy"),
    "folder": (
        '[model.encoder]\nkind = "cnn"\nin_channels = 3\nimage_size = 16\nchannels = [4]\n'
        '[data]\nkind = "images"\nset = "folder"\nroot = "root"\nside = 16\n',
        images,
        lambda: images(12),
        "the train split of folder",
    ),
}


def begun(shell: Shell, kind: str) -> tuple[Callable[[], None], str]:
    """A run of two steps of four; what changes its data, and what changes."""
    data, make, change, name = KINDS[kind]
    make()
    Path("small.toml").write_text(COMMON + MODEL + data + SIZES)
    shell("train", "small.toml", "--run-dir", "run", "--quiet", "--steps", "2")
    return change, name


@pytest.mark.parametrize("kind", KINDS)
def test_changed_data_are_refused_unless_asked_for(shell: Shell, kind: str, caplog: pytest.LogCaptureFixture):
    change, name = begun(shell, kind)
    resume = ("train", "small.toml", "--run-dir", "run", "--quiet", "--resume")
    measure = ("evaluate", "run", "--episodes", "2", "--matrix-episodes", "1")
    change()
    assert f"mambacl: run: `run` began with other data: {name} has changed since" in shell.fails(*resume)
    of_test = name.replace("train", "test")
    assert f"mambacl: run: `run` began with other data: {of_test} has changed" in shell.fails(*measure)
    assert RunFolder.open(Path("run")).done == 2
    assert not Path("run/evaluations").exists() or not [*Path("run/evaluations").iterdir()]
    assert not caplog.records
    shell(*resume, "--other-data")
    assert RunFolder.open(Path("run")).done == 4
    assert f"{name} has changed since" in caplog.text
    assert "nearest neighbour" in shell(*measure, "--other-data")


def test_data_written_again_as_they_were_go_on(shell: Shell, caplog: pytest.LogCaptureFixture):
    begun(shell, "npz")
    Path("x.npz").unlink()
    npz()
    shell("train", "small.toml", "--run-dir", "run", "--quiet", "--resume")
    assert RunFolder.open(Path("run")).done == 4
    assert "nearest neighbour" in shell("evaluate", "run", "--episodes", "2", "--matrix-episodes", "1")
    assert not caplog.records


def test_a_run_that_remembers_no_data_goes_on_with_a_note(shell: Shell, caplog: pytest.LogCaptureFixture):
    change, _ = begun(shell, "npz")
    file = Path("run/run.json")
    content = json.loads(file.read_text())
    del content["data"]
    file.write_text(json.dumps(content))
    change()
    shell("train", "small.toml", "--run-dir", "run", "--quiet", "--resume")
    assert RunFolder.open(Path("run")).done == 4
    assert "begun by an older mambacl" in caplog.text


def test_runs_of_the_same_settings_and_other_data_are_not_compared(shell: Shell):
    change, name = begun(shell, "npz")
    change()
    shell("train", "small.toml", "--run-dir", "other", "--quiet", "--steps", "2", "--seed", "1")
    with pytest.raises(RunError, match=f"`other`, which began with another version of {name} than `run`"):
        compare([Path("run"), Path("other")])


def test_other_data_is_of_resume(shell: Shell):
    assert "`--other-data` is of `--resume`" in shell.fails("train", "glyphs-mamba", "--other-data")


@pytest.mark.parametrize("data", ["[]", '"x"', "1", '{"file": 1}'])
def test_digests_that_are_none(tmp_path: Path, data: str):
    (tmp_path / "run.json").write_text(f'{{"format": 1, "settings": {{}}, "data": {data}}}')
    with pytest.raises(RunError, match=r"run\.json` must hold a table of digests as `data`"):
        RunFolder.open(tmp_path)
