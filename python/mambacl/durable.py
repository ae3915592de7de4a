"""Writing files so that a crash or a full disk never leaves half of one under its name."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO


def write(path: Path, data: bytes) -> None:
    """Writes a file aside, flushes it to the disk, and gives it its name at once.

    Args:
        path: The file; one that was there is replaced.
        data: Its content.

    Raises:
        OSError: If it cannot be written; what was there is still there.
    """
    with writing(path) as file:
        file.write(data)


@contextlib.contextmanager
def writing(path: Path) -> Generator[BinaryIO, None, None]:
    """A file to be written piece by piece, aside; at the end it is flushed and gets its name at once.

    Args:
        path: The file; one that was there is replaced, unless an exception comes in between.

    Raises:
        OSError: If it cannot be written; what was there is still there.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.partial")
    try:
        with named(path, aside):
            with aside.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


@contextlib.contextmanager
def named(path: Path, aside: Path | None = None) -> Generator[None, None, None]:
    """Around the writing of a file: an error of the system names it, as "no space left" does not itself and
    one of the file aside does not; or the folder, where there is none."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(path), str(aside)):
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
