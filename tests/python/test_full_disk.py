"""A disk that is full, or read-only, in earnest: a small file system in memory, where this may be mounted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mambacl import ContinualClassifier, durable, save_learner
from mambacl.errors import CheckpointError, FileError, RunError
from mambacl.runs import RunFolder, checkpoint
from small_learners import DIM, small_learner
from test_resume import assert_same_run, train


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Of 2 MiB."""
    if not sys.platform.startswith("linux"):
        pytest.skip("mounts as Linux does")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", tmp_path], capture_output=True)
    if done.returncode != 0:
        pytest.skip("nothing may be mounted here")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def fill(disk: Path, room: int) -> Path:
    """Fills a disk but for some KiB."""
    (disk / "room").write_bytes(bytes(1024 * room))
    with (disk / "full").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    (disk / "room").unlink()
    return disk / "full"


# Of all that is written in turn, another part is the one that does not fit.
@pytest.mark.parametrize("room", [0, 4, 8, 40, 80, 120])
def test_a_full_disk_loses_nothing(disk: Path, tmp_path_factory: pytest.TempPathFactory, room: int):
    run, whole = disk / "run", tmp_path_factory.mktemp("whole")
    train(run, stop_at=3)
    full = fill(disk, room)
    with pytest.raises((RunError, CheckpointError), match=rf"`{run}.*No space left"):
        train(run)
    for folder in RunFolder.open(run).checkpoints():
        checkpoint.read(folder)
    full.unlink()
    train(run)
    train(whole)
    assert_same_run(run, whole)


def test_a_file_that_does_not_fit_is_named(disk: Path):
    fill(disk, 0)
    with pytest.raises(OSError, match=f"No space left on device: '{disk}/.*some.json"):
        durable.write(disk / "some.json", b"{}")


def test_a_learner_and_a_stream_that_do_not_fit_leave_the_files_before(disk: Path):
    learner = small_learner().eval()
    classifier = ContinualClassifier(learner).partial_fit(np.zeros((2, DIM)), ["a", "b"])
    writers = {"learner": lambda path: save_learner(path, learner), "stream": classifier.save}
    for name, write in writers.items():
        write(disk / name)
    before = {name: (disk / name).read_bytes() for name in writers}
    fill(disk, 0)
    for name, write in writers.items():
        with pytest.raises(FileError, match=rf"`?{disk / name}`? could not be written: .*No space left"):
            write(disk / name)
        assert (disk / name).read_bytes() == before[name]
    assert sorted(file.name for file in disk.iterdir()) == ["full", *sorted(writers)]


def test_a_folder_that_is_read_only_is_named(disk: Path):
    train(disk / "run", stop_at=3)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(OSError, match=f"Read-only file system: '{disk}/run"):
        train(disk / "run")
    with pytest.raises(OSError, match=f"Read-only file system: '{disk}/other"):
        train(disk / "other")
    assert checkpoint.read(RunFolder.open(disk / "run").find("last")).step == 3
