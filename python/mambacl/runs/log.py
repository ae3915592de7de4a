"""The log of a run: one JSON object a line, appended as training goes, cut where it resumes."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Generator, Iterator, Mapping
from io import BufferedWriter
from pathlib import Path
from typing import Any

from mambacl import reading
from mambacl.errors import RunError

Record = Mapping[str, Any]

_TAIL = 4096
"""Bytes that hold more than a record."""


class RunLog:
    """The log of a run. Each record has its `step`.

    Args:
        path: The file; made when the first record comes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BufferedWriter | None = None

    def append(self, record: Record) -> None:
        """Adds a record; who reads the file sees it at once.

        Raises:
            RunError: If the file cannot be written.
        """
        with self._writing():
            if self._file is None:
                if self.path.exists():
                    reading.check_regular(self.path)  # opening a pipe would wait for its reader
                self._file = self.path.open("ab")
            self._file.write((json.dumps(record) + "\n").encode())
            self._file.flush()

    def flush(self) -> None:
        """Waits until the disk has all records: a checkpoint never knows more than its log.

        Raises:
            RunError: If the file cannot be written.
        """
        with self._writing():
            if self._file is not None:
                os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def read(self) -> list[Record]:
        """All records in order; a last line that a killed process left unfinished is no record.

        Raises:
            RunError: If another line is no record.
        """
        return [record for record, _ in self._records()]

    def last_step(self) -> int:
        """The step of the last whole record, 0 before any: for who watches a run that another process trains.
        Only the end of the file is read."""
        try:
            reading.check_regular(self.path)
            with self.path.open("rb") as file:
                file.seek(-min(self.path.stat().st_size, _TAIL), os.SEEK_END)
                lines = file.read().split(b"\n")[:-1]
            step = reading.parse_json(lines[-1])["step"]
            return step if isinstance(step, int) else 0
        except (OSError, IndexError, ValueError, KeyError, TypeError):
            return 0

    def cut(self, step: int) -> None:
        """Drops all records of later steps.

        Args:
            step: The last that stays.

        Raises:
            RunError: If a line is no record, or the file cannot be written.
        """
        self.close()
        if not self.path.exists():
            return
        end = 0
        for record, after in self._records():
            if record["step"] > step:
                break
            end = after
        with self._writing():
            os.truncate(self.path, end)

    @contextlib.contextmanager
    def _writing(self) -> Generator[None, None, None]:
        try:
            yield
        except OSError as error:
            with contextlib.suppress(OSError):  # closing tries again what has just failed
                self.close()
            raise RunError(f"log: `{self.path}` could not be written: {error}") from error

    def _records(self) -> Iterator[tuple[Record, int]]:
        """Each record with the byte behind it."""
        if not self.path.exists():
            return
        after = 0
        try:
            lines = reading.read_bytes(self.path).splitlines(keepends=True)
        except OSError as error:
            raise RunError(f"log: `{self.path}` cannot be read: {error}") from error
        for number, line in enumerate(lines):
            after += len(line)
            try:
                record = reading.parse_json(line)
                whole = isinstance(record["step"], int) and line.endswith(b"\n")
            except (ValueError, KeyError, TypeError):
                whole, record = False, {}
            if whole:
                yield record, after
            elif number < len(lines) - 1:
                raise RunError(f"log: line {number + 1} of `{self.path}` must be a record with a step")
