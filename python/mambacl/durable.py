"""Writing files so that a crash or a full disk never leaves half of one under its name.

A file is written aside, under a name of its own in the same folder, and locked until it has its name. What a
killed process left there has no lock, by which the next writer knows it and removes it. `src/disk.rs` does so
in Rust: both clear what either left.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import re
import stat
from collections.abc import Callable, Generator
from pathlib import Path
from typing import BinaryIO

_ASIDE = re.compile(r"\.mambacl-\d+-\d+\.partial")
"""Names of files that are being written: the process and a number. They do not depend on the name that the
file will have, which may be as long as names can be."""

_MOST_LINKS = 40
_numbers = itertools.count()


def write(path: Path, data: bytes, check: Callable[[bytes], object] | None = None) -> None:
    """Writes a file aside, flushes it to the disk, and gives it its name at once.

    Args:
        path: The file; as for `writing`.
        data: Its content.
        check: Is given what can be read from the disk, before the file has its name; if it raises, the file
            is not written.

    Raises:
        OSError: If it cannot be written; what was there is still there.
    """
    with writing(path) as file:
        file.write(data)
        if check is not None:
            file.seek(0)
            check(file.read())


@contextlib.contextmanager
def writing(path: Path) -> Generator[BinaryIO, None, None]:
    """A file to be written piece by piece, aside; at the end it is flushed and gets its name at once.

    Args:
        path: The file. One that was there is replaced, unless an exception comes in between, and its mode
            stays. Of a symbolic link, the file that it leads to is replaced, and the link stays.

    Raises:
        OSError: If it cannot be written, or is a folder, a device or a pipe; what was there is still there.
    """
    with named(path):
        target = _followed(path)
        before = _regular(target)
        clear(target.parent)
        aside, file = _aside(target.parent, private=before is not None)
        with file:
            try:
                yield file
                file.flush()
                if before is not None:
                    _own_alike(file.fileno(), before)
                os.fsync(file.fileno())
                os.replace(aside, target)
            except BaseException:
                with contextlib.suppress(OSError):  # the first error says more
                    aside.unlink()
                raise
        with contextlib.suppress(PermissionError):  # who may write a folder need not be allowed to read it
            flush_folder(target.parent)


def clear(folder: Path) -> None:
    """Removes what killed processes left half written in a folder. Files of processes that live stay, in
    whichever container they run, and so does every file that this package has not written."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if _ASIDE.fullmatch(name):
                with contextlib.suppress(OSError):
                    _remove_abandoned(folder / name)


def _remove_abandoned(aside: Path) -> None:
    """Removes a file that no process holds.

    Raises:
        OSError: If one does, or the file cannot be opened or removed.
    """
    descriptor = os.open(aside, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            aside.unlink()
    finally:
        os.close(descriptor)


def _aside(folder: Path, *, private: bool) -> tuple[Path, BinaryIO]:
    """A new file in a folder, locked until it is closed.

    Args:
        folder: The folder.
        private: Whether only its owner may read it; else the umask says who may.
    """
    while True:
        aside = folder / f".mambacl-{os.getpid()}-{next(_numbers)}.partial"
        try:
            descriptor = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666)
        except FileExistsError:  # of another container's process of this number
            continue
        file = os.fdopen(descriptor, "w+b")
        with contextlib.suppress(OSError):  # there are file systems without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Between its making and its lock another process may have taken it for abandoned.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(aside), os.fstat(descriptor)):
                return aside, file
        file.close()


def _followed(path: Path) -> Path:
    """What symbolic links lead to, which need not be there.

    Raises:
        OSError: If they lead in a circle, or to an open file of a process, as /dev/stdout does.
    """
    for _ in range(_MOST_LINKS):
        if not path.is_symlink():
            return path
        if os.path.realpath(path.parent).startswith("/proc/"):
            raise OSError("it is no regular file, but what a process has open")
        path = path.parent / os.readlink(path)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


def _regular(path: Path) -> os.stat_result | None:
    """What is known of a regular file, None where there is nothing.

    Raises:
        OSError: If there is something else.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(found.st_mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError("it is no regular file")  # a pipe or a device is not to be replaced by one
    return found


def _own_alike(descriptor: int, before: os.stat_result) -> None:
    """Gives a file the owner, where that is permitted, and the mode of the one that it replaces."""
    now = os.fstat(descriptor)
    if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, before.st_uid, before.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode))


@contextlib.contextmanager
def named(path: Path) -> Generator[None, None, None]:
    """Around the writing of a file: an error of the system names it, as "no space left" does not itself and
    one of the file aside does not; or the folder, where there is none."""
    try:
        yield
    except OSError as error:
        of_another = error.filename not in (None, str(path)) and not _ASIDE.fullmatch(
            os.path.basename(os.fsdecode(error.filename))
        )
        if error.errno is None or of_another:
            raise
        if error.errno == errno.ENOENT and not path.parent.exists():
            raise OSError(errno.ENOENT, "there is no folder", str(path.parent)) from error
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_through(path: Path, data: bytes) -> None:
    """Writes a file and waits until the disk has it."""
    with named(path), path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Waits until the disk has the names in a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
