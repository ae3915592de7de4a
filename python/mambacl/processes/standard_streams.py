"""The standard streams of a command: missing, short of a character, or no longer read."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Generator

_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


@contextlib.contextmanager
def standard_streams() -> Generator[None, None, None]:
    """Around all that a command does, its help included.

    A stream that was closed before the start reads and writes nothing. A character that an encoding lacks is
    written as `\\xb1`. When the reader of the output has gone, as `head` does, the process ends with status
    141, as one that SIGPIPE ends; when the output cannot be written for another reason, with a line and
    status 1.
    """
    for descriptor, (name, mode) in enumerate(_STREAMS):
        if getattr(sys, name) is None:
            _occupy(descriptor)
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _discard()
        sys.exit(141)
    except OSError as error:
        _discard()
        sys.exit(f"mambacl: the output could not be written: {error}")


def _occupy(descriptor: int) -> None:
    """Puts the null device where a stream is missing: the next file opened must not be in its place."""
    try:
        os.fstat(descriptor)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        if null != descriptor:
            os.dup2(null, descriptor)
            os.close(null)


def _discard() -> None:
    """What is left of the output must not be written again at the exit; nor must what is left of errors, if
    they cannot be written either."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(null, sys.stderr.fileno())
    os.close(null)
