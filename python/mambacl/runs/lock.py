"""A folder held by one process."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path

import filelock

from mambacl.errors import RunError


@contextlib.contextmanager
def held(folder: Path, what: str) -> Generator[None, None, None]:
    """Holds a folder for this process; the lock ends with the process, however that ends.

    Args:
        folder: It must exist.
        what: Who would hold it else, for the message: "run: another process is training".

    Raises:
        RunError: If another process holds it.
        OSError: If the folder cannot be written.
    """
    lock = filelock.FileLock(folder / "lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise RunError(f"{what} in `{folder}`") from None
    try:
        yield
    finally:
        lock.release()
