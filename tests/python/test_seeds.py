"""`mambacl train --seeds`: a process for each seed, one end for all, and failures told last."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mambacl.commands.train import parse_seeds
from mambacl.runs import RunFolder, checkpoint
from shell import Shell

SMALL = [
    *("train", "glyphs-mamba", "--set", "data.tasks=2", "--set", "data.train_shots=1"),
    *("--set", "data.evaluation_test_shots=2", "--set", "model.d_model=16", "--set", "train.batch_size=2"),
    *("--set", "train.validation_episodes=2", "--set", "train.validate_every=2"),
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where runs are made: in `runs`, as by default."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def weights(seed: int) -> bytes:
    run = RunFolder.open(Path(f"runs/glyphs-mamba-seed{seed}"))
    return (run.find("last") / "model.safetensors").read_bytes()


def test_seeds_are_the_runs_of_the_single_form_and_a_failed_one_is_told_last(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    RunFolder.create(Path("runs/glyphs-mamba-seed1"), {"another": 1})
    with pytest.raises(SystemExit) as stop:
        shell(*SMALL, "--seeds", "0..2", "--jobs", "2", "--steps", "3")
    failed = str(stop.value.code)
    assert "1 of 3 seeds failed" in failed
    assert "glyphs-mamba-seed1: run: `runs/glyphs-mamba-seed1` holds a run already" in failed
    assert failed.endswith("(see runs/glyphs-mamba-seed1.log)")
    told = capsys.readouterr().out
    for seed in (0, 2):
        assert told.count(f"glyphs-mamba-seed{seed}: 3 steps in ") == 1
    assert weights(0) != weights(2)
    of_seed_2 = weights(2)
    alone = ("--steps", "3", "--quiet", "--run-dir", "alone")
    with subprocess.Popen([sys.executable, "-m", "mambacl", *SMALL, *alone, "--seed", "2"]) as single:
        assert single.wait() == 0
    assert (RunFolder.open(Path("alone")).find("last") / "model.safetensors").read_bytes() == of_seed_2


def test_ctrl_c_stops_all_and_leaves_all_resumable(shell: Shell):
    command = [sys.executable, "-m", "mambacl", *SMALL, "--seeds", "3,5", "--jobs", "2"]
    runs = [RunFolder(Path(f"runs/glyphs-mamba-seed{seed}"), {}) for seed in (3, 5)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        while not all(run.log.last_step() for run in runs):
            assert running.poll() is None
            time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        _, told = running.communicate()
    assert running.returncode == 130
    assert "stopped; what was trained is saved; the same command with --resume goes on" in told
    reached: list[int] = []
    for run in runs:
        with run.locked():  # its process is no more
            reached.append(checkpoint.read(run.find("last")).step)
            assert run.log.last_step() == reached[-1]
    more = str(max(reached) + 1)
    said = shell(*SMALL, "--seeds", "3,5", "--resume", "--steps", more)
    assert said.count(f"{more} steps in ") == 2


def test_seeds_are_named_by_numbers_and_ranges():
    assert parse_seeds("0..4") == [0, 1, 2, 3, 4]
    assert parse_seeds("0,3,7") == [0, 3, 7]
    assert parse_seeds("5") == [5]
    assert parse_seeds("1..2, 9") == [1, 2, 9]
