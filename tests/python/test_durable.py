"""Saving harms nothing: not a link, a mode, a device, a good file, nor what somebody else writes."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot as plt

from mambacl import ContinualClassifier, Learner, durable, load_learner, load_state, save_learner, save_state
from mambacl.errors import FileError
from mambacl.plots.saving import save
from small_learners import DIM, small_learner

LEARNER = small_learner().eval()
CLASSIFIER = ContinualClassifier(LEARNER).partial_fit(np.zeros((2, DIM)), ["a", "b"])
SAVES: dict[str, Callable[[Path], None]] = {
    "learner": lambda path: save_learner(path, LEARNER),
    "state": lambda path: save_state(path, LEARNER.init_state(2), LEARNER),
    "classifier": lambda path: CLASSIFIER.save(path),
}
LOADS: dict[str, Callable[[Path], object]] = {
    "learner": load_learner,
    "state": lambda path: load_state(path, LEARNER),
    "classifier": ContinualClassifier.load,
}
every_save = pytest.mark.parametrize("what", SAVES)


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


@every_save
def test_the_file_that_a_link_leads_to_is_replaced(tmp_path: Path, what: str):
    (tmp_path / "real").mkdir()
    for name in ("old", "new"):
        (tmp_path / f"to {name}").symlink_to(f"real/{name}")
        (tmp_path / name).symlink_to(tmp_path / f"to {name}")
    (tmp_path / "real" / "old").write_bytes(b"before")
    for name in ("old", "new"):
        SAVES[what](tmp_path / name)
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / f"to {name}").is_symlink()
        assert not (tmp_path / "real" / name).is_symlink()
        LOADS[what](tmp_path / "real" / name)
    assert names(tmp_path / "real") == ["new", "old"]
    assert names(tmp_path) == ["new", "old", "real", "to new", "to old"]


def test_links_in_a_circle_are_an_error(tmp_path: Path):
    (tmp_path / "one").symlink_to("other")
    (tmp_path / "other").symlink_to("one")
    with pytest.raises(FileError, match="Too many levels of symbolic links"):
        save_learner(tmp_path / "one", LEARNER)
    assert names(tmp_path) == ["one", "other"]


@every_save
def test_what_is_no_regular_file_is_refused_and_stays(tmp_path: Path, what: str):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to a pipe").symlink_to("pipe")
    paths = [tmp_path / "pipe", tmp_path / "to a pipe"]
    with contextlib.suppress(PermissionError):  # /dev/null's twin: a fault would cost the machine its own
        os.mknod(tmp_path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        paths.append(tmp_path / "null")
    before = {name: os.lstat(tmp_path / name) for name in names(tmp_path)}
    for path in paths:
        with pytest.raises(FileError, match=f"`{path}` could not be written: it is no regular file"):
            SAVES[what](path)
    with pytest.raises(FileError, match="Is a directory"):
        SAVES[what](tmp_path)
    assert names(tmp_path) == list(before)
    assert all(os.path.samestat(os.lstat(tmp_path / name), known) for name, known in before.items())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="/dev/fd leads elsewhere")
def test_a_file_that_a_process_has_open_is_not_replaced(tmp_path: Path):
    """As /dev/stdout may lead to."""
    with (tmp_path / "output").open("wb") as output:
        output.write(b"said")
        with pytest.raises(FileError, match="it is no regular file"):
            save_learner(f"/dev/fd/{output.fileno()}", LEARNER)
    assert (tmp_path / "output").read_bytes() == b"said"


@every_save
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o666])
def test_a_mode_stays(tmp_path: Path, what: str, mode: int):
    (tmp_path / "file").write_bytes(b"before")
    (tmp_path / "file").chmod(mode)
    SAVES[what](tmp_path / "file")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode
    LOADS[what](tmp_path / "file")


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_new_file_obeys_the_umask(tmp_path: Path, umask: int, mode: int):
    before = os.umask(umask)
    try:
        save_learner(tmp_path / "file", LEARNER)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


@every_save
@pytest.mark.parametrize("name", [b"n" * 255, b"\xff\xfe odd", " \n'\"\u00e9".encode(), b"-", b".hidden"])
def test_any_name_that_a_file_can_have_will_do(tmp_path: Path, what: str, name: bytes):
    path = tmp_path / os.fsdecode(name)
    SAVES[what](path)
    LOADS[what](path)
    assert os.listdir(os.fsencode(tmp_path)) == [name]
    path.write_bytes(b"damaged")
    with pytest.raises(FileError) as refusal:
        LOADS[what](path)
    str(refusal.value).encode()  # it can be printed


@pytest.mark.parametrize("name", ["n" * 256, "zero\0"])
def test_a_name_that_no_file_can_have_is_an_error(tmp_path: Path, name: str):
    for attempt in (save_learner, lambda path, _: load_learner(path)):
        with pytest.raises(FileError, match=r"could not be written|cannot be read"):
            attempt(tmp_path / name, LEARNER)
    assert not names(tmp_path)


@every_save
def test_what_could_not_be_read_again_replaces_nothing(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
):
    SAVES[what](tmp_path / "file")
    before = (tmp_path / "file").read_bytes()
    with monkeypatch.context() as patch:
        broken = "to_bytes" if what == "learner" else "state_to_bytes"
        patch.setattr(Learner, broken, lambda *_: b"none that could be read")
        with pytest.raises(FileError, match=r"was not written: it could not be read again: .*damaged"):
            SAVES[what](tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == before
    assert names(tmp_path) == ["file"]


def test_bytes_that_the_disk_changes_are_not_kept(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"before")

    def differs(back: bytes) -> None:
        assert back == b"after"
        raise OSError("the disk gives other bytes back")

    with pytest.raises(OSError, match="other bytes"):
        durable.write(tmp_path / "file", b"after", differs)
    assert (tmp_path / "file").read_bytes() == b"before"
    assert names(tmp_path) == ["file"]


def half_written(path: Path) -> tuple[int, int]:
    """A process that has written half of a file: its number, and a pipe that makes it go on."""
    waiting, go_on = os.pipe()
    done, tell = os.pipe()
    if (child := os.fork()) == 0:
        try:
            with durable.writing(path) as file:
                file.write(b"half")
                file.flush()
                os.write(tell, b".")
                os.read(waiting, 1)
                file.write(b" and whole")
        finally:
            os._exit(0)
    os.read(done, 1)
    for descriptor in (waiting, done, tell):
        os.close(descriptor)
    return child, go_on


def test_what_killed_processes_left_is_cleared_and_nothing_else(tmp_path: Path):
    others = [".a.7.0.partial", ".mambacl-7-x.partial", ".mambacl-7-0.partial.mine", "mambacl-7-0.partial"]
    for name in others:
        (tmp_path / name).write_bytes(b"somebody's")
    (tmp_path / ".mambacl-7-1.partial").mkdir()
    (tmp_path / ".mambacl-7-2.partial").symlink_to(others[0])
    others += [".mambacl-7-1.partial", ".mambacl-7-2.partial"]
    (killed, unused), (living, go_on) = (half_written(tmp_path / name) for name in ("killed", "living"))
    os.kill(killed, signal.SIGKILL)
    os.waitpid(killed, 0)
    assert len(names(tmp_path)) == len(others) + 2
    save_learner(tmp_path / "model", LEARNER)
    assert len(names(tmp_path)) == len(others) + 2  # that of the process that lives, and the model
    os.write(go_on, b".")
    os.waitpid(living, 0)
    os.close(unused)
    os.close(go_on)
    assert (tmp_path / "living").read_bytes() == b"half and whole"
    assert names(tmp_path) == sorted([*others, "living", "model"])


def test_of_writers_at_once_one_wins_whole(tmp_path: Path):
    file = tmp_path / "file"

    def write(number: int) -> None:
        for _ in range(20):
            durable.write(file, bytes([number]) * 50_000)

    children: list[int] = []
    for number in (1, 2):
        if (child := os.fork()) == 0:
            try:
                write(number)
            finally:
                os._exit(0)
        children.append(child)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(write, (3, 4)))
    for child in children:
        os.waitpid(child, 0)
    content = file.read_bytes()
    assert content in [bytes([number]) * 50_000 for number in (1, 2, 3, 4)]
    assert names(tmp_path) == ["file"]


def test_figures_are_written_as_carefully(tmp_path: Path):
    (tmp_path / "kept.png").write_bytes(b"before")
    (tmp_path / "link.png").symlink_to("kept.png")
    save(plt.figure().add_subplot(), tmp_path / "link.png")
    assert (tmp_path / "link.png").is_symlink()
    assert (tmp_path / "kept.png").read_bytes().startswith(b"\x89PNG")
    save(plt.figure().add_subplot(), tmp_path / "no suffix")
    assert names(tmp_path) == ["kept.png", "link.png", "no suffix.png"]
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(OSError, match="no regular file"):
        save(plt.figure().add_subplot(), tmp_path / "pipe.png")
    assert not plt.get_fignums()
