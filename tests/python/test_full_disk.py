"""A disk that is full, or read-only, in earnest: a small file system in memory, where this may be mounted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mambacl import durable
from mambacl.errors import CheckpointError, RunError
from mambacl.runs import RunFolder, checkpoint
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


def test_a_folder_that_is_read_only_is_named(disk: Path):
    train(disk / "run", stop_at=3)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(OSError, match=f"Read-only file system: '{disk}/run"):
        train(disk / "run")
    with pytest.raises(OSError, match=f"Read-only file system: '{disk}/other"):
        train(disk / "other")
    assert checkpoint.read(RunFolder.open(disk / "run").find("last")).step == 3
