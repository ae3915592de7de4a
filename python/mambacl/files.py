"""Learners and states as files: one file of safetensors each, which Rust reads as well; nothing is pickled.

The format is that of `src/files` in Rust, where it is read and written; here are the files themselves.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from mambacl import durable, reading
from mambacl.errors import FileError, MambaclError
from mambacl.learner import Learner
from mambacl.state import LearnerState

FilePath = str | os.PathLike[str]


def save_learner(path: FilePath, learner: Learner) -> None:
    """Writes a learner, all that deployment needs of it, whole or not at all.

    Args:
        path: The file; one that is there is replaced.
        learner: Its settings, parameters and buffers are written.

    Raises:
        FileError: If the file cannot be written.
        DtypeError: If parameters and buffers are not all of one floating dtype.

    Examples:
        >>> import pathlib, tempfile, mambacl
        >>> learner = mambacl.Learner(mambacl.PrototypeConfig(mambacl.VectorEncoder(dim=8))).eval()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     folder = pathlib.Path(folder)
        ...     save_learner(folder / "model.safetensors", learner)
        ...     save_state(folder / "state.safetensors", learner.init_state(batch_size=5), learner)
        ...     again = load_learner(folder / "model.safetensors")
        ...     load_state(folder / "state.safetensors", again).batch_size
        5
    """
    write(path, learner.to_bytes(), Learner.from_bytes)


def load_learner(path: FilePath) -> Learner:
    """Reads a learner.

    Args:
        path: The file, of `save_learner` or `mambacl export`.

    Returns:
        The learner, on the CPU, in evaluation mode.

    Raises:
        FileError: If the file cannot be read, is damaged, of a newer format, or of no learner.
    """
    return Learner.from_bytes(read(path), shown(path))


def save_state(path: FilePath, state: LearnerState, learner: Learner) -> None:
    """Writes a state, whole or not at all.

    Args:
        path: The file; one that is there is replaced.
        state: Of any number of streams.
        learner: Whose state it is; its fingerprint is written too.

    Raises:
        FileError: If the file cannot be written.
        ShapeError, DtypeError, DeviceError, InvalidValueError, ConfigError: If the state is of another
            learner.
    """
    write(path, learner.state_to_bytes(state), learner.state_from_bytes)


def load_state(path: FilePath, learner: Learner) -> LearnerState:
    """Reads a state.

    Args:
        path: The file, of `save_state` or of Rust.
        learner: The very model whose state it is: the same settings, parameters and buffers.

    Returns:
        The state, on the learner's device.

    Raises:
        FileError: If the file cannot be read, is damaged, of a newer format or another model, or no state's.
    """
    return learner.state_from_bytes(read(path), shown(path))


def read(path: FilePath) -> bytes:
    """The bytes of a file.

    Raises:
        FileError: If it cannot be read, is no regular file, or is too large (`reading.MOST_BYTES`).
    """
    try:
        return reading.read_bytes(path)
    except (OSError, ValueError) as error:  # a name may hold no zero
        raise FileError(f"file: `{shown(path)}` cannot be read: {error}") from error


def write(path: FilePath, data: bytes, again: Callable[[bytes], object]) -> None:
    """Writes a file, whole or not at all, and only if it can be read again.

    Args:
        path: The file; as for `mambacl.durable.writing`.
        data: Its content.
        again: Reads the content; it is given what is on the disk before the file has its name.

    Raises:
        FileError: If it cannot be written, or not be read again; what was there is still there.
    """

    def check(read_back: bytes) -> None:
        if read_back != data:
            raise OSError("the disk gives other bytes back")
        try:
            again(read_back)
        except MambaclError as error:
            reason = f"it could not be read again: {error}"
            raise FileError(f"file: `{shown(path)}` was not written: {reason}") from error

    try:
        durable.write(Path(path), data, check)
    except (OSError, ValueError) as error:
        raise FileError(f"file: `{shown(path)}` could not be written: {error}") from error


def shown(path: FilePath) -> str:
    """A file's name for messages: bytes that are no text are escaped."""
    return str(path).encode("utf-8", "backslashreplace").decode()
