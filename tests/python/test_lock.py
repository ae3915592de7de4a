"""One process trains in a run folder; another is told so."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaussian_episodes import GaussianEpisodes, gaussian_learner
from mambacl import TrainConfig, meta_train
from mambacl.errors import RunError
from mambacl.runs import RunFolder
from small_learners import assert_same, tensors

HOLD = """
import sys, time
from pathlib import Path
from mambacl.runs import RunFolder
with RunFolder.open(Path(sys.argv[1])).locked():
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the run in `tmp_path`."""
    RunFolder.create(tmp_path, {})
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_until_the_first_ends(tmp_path: Path, holder: subprocess.Popen[str]):
    learner, run = gaussian_learner(), RunFolder.open(tmp_path)
    config = TrainConfig(steps=1, batch_size=2)
    before = tensors(learner)
    with pytest.raises(RunError, match=f"run: another process is training in `{tmp_path}`"):
        meta_train(learner, GaussianEpisodes(0), config, run=run, progress=False)
    assert_same(tensors(learner), before)
    assert run.log.read() == []
    with pytest.raises(RunError, match="another process is training"):
        RunFolder.create(tmp_path, {})
    holder.kill()
    holder.wait()
    meta_train(learner, GaussianEpisodes(0), config, run=run, progress=False)
    assert len(run.checkpoints()) == 1


def test_one_process_cannot_hold_a_run_twice(tmp_path: Path):
    run = RunFolder.create(tmp_path, {})
    with run.locked(), pytest.raises(RunError, match="another process"), RunFolder.open(tmp_path).locked():
        pass
    with run.locked():
        pass


def test_a_run_that_is_held_can_be_read(tmp_path: Path):
    run = RunFolder.create(tmp_path, {"seed": 1})
    with run.locked():
        assert RunFolder.open(tmp_path).settings == {"seed": 1}
        assert RunFolder.open(tmp_path).log.read() == []
