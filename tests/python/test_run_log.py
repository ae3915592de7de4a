"""The log of a run: appended, read, cut."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mambacl.errors import RunError
from mambacl.runs.log import RunLog


@pytest.fixture
def log(tmp_path: Path) -> Iterator[RunLog]:
    """A log of four steps."""
    log = written(tmp_path)
    yield log
    log.close()


def written(folder: Path, steps: int = 4) -> RunLog:
    log = RunLog(folder / "log.jsonl")
    for step in range(1, steps + 1):
        log.append({"step": step, "loss": 1.5})
    return log


def steps(log: RunLog) -> list[int]:
    return [record["step"] for record in log.read()]


def test_records_come_back_in_order_and_at_once(log: RunLog):
    assert log.read() == [{"step": step, "loss": 1.5} for step in (1, 2, 3, 4)]
    log.flush()
    log.close()
    log.close()
    assert steps(log) == [1, 2, 3, 4]
    log.append({"step": 5})
    assert steps(log) == [1, 2, 3, 4, 5]


def test_a_log_that_is_not_there_is_empty(tmp_path: Path):
    log = RunLog(tmp_path / "log.jsonl")
    log.cut(3)
    log.flush()
    assert log.read() == []
    assert not log.path.exists()


def test_a_cut_drops_later_steps_and_keeps_those_of_the_step(log: RunLog):
    log.append({"step": 4, "score": 0.5})
    log.append({"step": 5})
    log.cut(4)
    assert log.read()[-1] == {"step": 4, "score": 0.5}
    log.append({"step": 5, "again": True})
    assert log.read()[-1] == {"step": 5, "again": True}
    log.cut(0)
    assert log.read() == []


@given(st.integers(0, 200))
def test_a_torn_last_line_is_no_record(tmp_path_factory: pytest.TempPathFactory, torn: int):
    log = written(tmp_path_factory.mktemp("log"))
    log.close()
    whole = log.path.read_bytes()
    content = whole[: min(torn, len(whole))]
    log.path.write_bytes(content)
    kept = content.count(b"\n")
    assert steps(log) == list(range(1, kept + 1))
    log.cut(4)
    assert log.path.read_bytes().count(b"\n") == kept
    log.append({"step": kept + 1})
    assert steps(log) == list(range(1, kept + 2))
    log.close()


@pytest.mark.parametrize("line", ["", "{", "[]", "3", '{"loss": 1}', '{"step": "2"}', "\0\0"])
def test_a_broken_line_in_the_middle_is_named(tmp_path: Path, line: str):
    path = tmp_path / "log.jsonl"
    before = f'{{"step": 1}}\n{line}\n{{"step": 3}}\n'
    path.write_text(before)
    with pytest.raises(RunError, match=r"log: line 2 of `.*log\.jsonl` must be a record with a step"):
        RunLog(path).read()
    with pytest.raises(RunError, match="line 2"):
        RunLog(path).cut(3)
    assert path.read_text() == before


def test_a_full_disk_leaves_whole_records(log: RunLog):

    class Full:
        """A file on a disk that has room for half a record."""

        def __init__(self, file: Any) -> None:
            self.file = file

        def write(self, data: bytes) -> int:
            self.file.write(data[: len(data) // 2])
            self.file.flush()
            raise OSError(errno.ENOSPC, "No space left on device")

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    log._file = Full(log._file)  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(RunError, match=r"log: `.*log\.jsonl` could not be written: .*No space left"):
        log.append({"step": 5, "loss": 1.5})
    assert steps(log) == [1, 2, 3, 4]
    log.cut(4)
    log.append({"step": 5})
    assert [json.loads(line)["step"] for line in log.path.read_text().splitlines()] == [1, 2, 3, 4, 5]


def test_who_watches_reads_the_last_whole_record(tmp_path: Path):
    log = RunLog(tmp_path / "log.jsonl")
    assert log.last_step() == 0
    for step in range(1, 200):  # more than is read
        log.append({"step": step, "loss": 1 / step})
    assert log.last_step() == 199
    with log.path.open("ab") as file:
        file.write(b'{"step": 200, "lo')
    assert log.last_step() == 199
    log.cut(0)
    assert log.last_step() == 0
