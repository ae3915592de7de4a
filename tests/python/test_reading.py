"""Readers of JSON, TOML, text and binary files: what is refused, by every reader, and without a hang."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mambacl import experiments, files, packaged, reading, toml_files
from mambacl.data.feature_file import feature_file
from mambacl.errors import MambaclError
from mambacl.report.measurement import read_measurement
from mambacl.runs import RunFolder, checkpoint
from mambacl.studies.answers import Answers
from mambacl.studies.curve import Curve
from mambacl.studies.scale import Scale
from mambacl.sweeps import Results, read_sweep
from mambacl.sweeps.files import sweep_file
from mambacl.sweeps.offline import OfflineTraining

CELL = read_sweep(sweep_file("features-5x5")).cells[0]

Reader = tuple[str, Callable[[Path], Any]]

READERS: dict[str, Reader] = {
    "run": ("run.json", RunFolder.open),
    "best": ("best.json", lambda folder: RunFolder(folder, {}).best()),
    "checkpoint": ("checkpoint.json", checkpoint.read),
    "measurement": ("evaluations/test-5x5.json", lambda folder: read_measurement(folder, "test-5x5")),
    "outcome": (f"cells/{CELL.name}.json", lambda folder: Results(folder).read(CELL)),
    "beside": ("offline.json", OfflineTraining.read),
    "answer": ("one.json", lambda folder: Answers(folder, Curve, Scale()).read("one")),
    "packaged JSON": ("x.json", lambda folder: packaged.description("test", folder / "x.json", "key")),
    "packaged TOML": ("x.toml", lambda folder: packaged.description("test", folder / "x.toml", "key")),
    "TOML": ("x.toml", lambda folder: toml_files.read("experiment", folder / "x.toml")),
    "experiment": ("x.toml", lambda folder: experiments.load(str(folder / "x.toml"))),
    "sweep": ("x.toml", lambda folder: read_sweep(folder / "x.toml")),
    "learner": ("x", lambda folder: files.load_learner(folder / "x")),
    "features": ("x.npz", lambda folder: feature_file(folder / "x.npz")),
}

LOG: Reader = ("log.jsonl", lambda folder: RunFolder(folder, {}).log.read())


def pipe(path: Path) -> None:
    os.mkfifo(path)


def hole(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


def text(begin: str, inner: str, end: str) -> Callable[[Path], None]:
    """Writes a value as JSON, or behind a key as TOML."""

    def write(path: Path) -> None:
        value = f"{begin}{inner}{end}"
        path.write_text(f"x = {value}" if path.suffix == ".toml" else value + "\n" * 2)

    return write


SPOILT: dict[str, Callable[[Path], Any]] = {
    "a pipe": pipe,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": Path.mkdir,
    "1 TiB of nothing": hole,
    "no UTF-8": lambda path: path.write_bytes(b'{"a": "\xff\xfe\xfa"}'),
    "UTF-16": lambda path: path.write_bytes('{"format": 1}'.encode("utf-16")),
    "lists in lists": text("[" * 99_999, "", "]" * 99_999),
    "lists in lists, just over the limit": text("[" * 65, "", "]" * 65),
    "an integer of 5000 digits": text("[", "7" * 5000, "]"),
    "an integer of 65 bits": text("[", str(2**64), "]"),
    "a number beyond float64": text("[", "1e999", "]"),
}


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    """A reader that waits for a pipe ends in an error."""

    def stop(*_: object) -> None:
        raise TimeoutError("a reader waits")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_every_reader_refuses_what_is_no_such_file_by_its_name(tmp_path: Path, spoil: Callable[[Path], Any]):
    for number, (name, (file, read)) in enumerate(READERS.items()):
        folder = tmp_path / str(number)
        (folder / file).parent.mkdir(parents=True)
        spoil(folder / file)
        with pytest.raises(MambaclError) as caught:
            read(folder)
        assert Path(file).name in str(caught.value), name
        assert len(str(caught.value)) < 1000, name


@pytest.mark.parametrize("spoil", [pipe, hole, Path.mkdir], ids=["a pipe", "a hole", "a folder"])
def test_tensors_and_logs_are_regular_files(tmp_path: Path, spoil: Callable[[Path], Any]):
    file, read = LOG
    spoil(tmp_path / file)
    with pytest.raises(MambaclError, match=r"log\.jsonl` cannot be read: it (is no regular|has .* bytes)"):
        read(tmp_path)
    assert RunFolder(tmp_path, {}).log.last_step() == 0
    header = '{"format": 1, "step": 4, "facts": {}, "sha256": {"model": "00"}}'
    (tmp_path / "checkpoint.json").write_text(header)
    spoil(tmp_path / "model.safetensors")
    with pytest.raises(MambaclError, match=r"model\.safetensors` cannot be read: it (is no|has)"):
        checkpoint.read(tmp_path)


def test_a_record_of_a_log_that_is_too_deep_is_named(tmp_path: Path):
    deep = "[" * 5000 + "]" * 5000
    (tmp_path / "log.jsonl").write_text(f'{{"step": 1}}\n{{"step": 2, "x": {deep}}}\n{{"step": 3}}\n')
    with pytest.raises(MambaclError, match=r"line 2 of .*log\.jsonl` must be a record"):
        RunFolder(tmp_path, {}).log.read()


def test_a_byte_order_mark_is_left_out(tmp_path: Path):
    (tmp_path / "x.toml").write_bytes(b"\xef\xbb\xbfkey = 'caf\xc3\xa9'")
    assert toml_files.read("test", tmp_path / "x.toml") == {"key": "café"}
    (tmp_path / "x.json").write_bytes(b'\xef\xbb\xbf{"key": [1, 2.5, null]}')
    assert packaged.description("test", tmp_path / "x.json", "key") == {"key": [1, 2.5, None]}


def test_numbers_within_the_limits_are_read_exactly():
    assert reading.parse_json(f"[{2**64 - 1}, {-(2**63)}, 1.5e308, NaN]")[:3] == [
        2**64 - 1,
        -(2**63),
        1.5e308,
    ]
    assert reading.parse_toml("x = [inf, 0xff, 1_000]")["x"] == [float("inf"), 255, 1000]
    deep: list[Any] = reading.parse_json("[" * 64 + "]" * 64)
    for _ in range(63):
        (deep,) = deep
    assert deep == []


def test_where_an_integer_is_too_large():
    with pytest.raises(ValueError, match=r"^`train\.steps` must be from -2\^63 to 2\^64 - 1, got 1{150}$"):
        reading.parse_toml(f"[train]\nsteps = {'1' * 150}")
    with pytest.raises(ValueError, match=r"^`a\.1` must be .*, got an integer of about 6021 digits"):
        reading.parse_toml(f"a = [1, 0x{'f' * 5000}]")


@pytest.mark.parametrize("dots", [".", " . "])
def test_a_key_of_many_parts_takes_no_time(dots: str):
    with pytest.raises(ValueError, match="a key must have at most 64 parts"):
        reading.parse_toml(dots.join("a" * 100_000) + " = 1")


def test_the_digest_of_a_file(tmp_path: Path):
    data = bytes(range(256)) * 5000
    (tmp_path / "x").write_bytes(data)
    assert reading.sha256(tmp_path / "x") == hashlib.sha256(data).hexdigest()
    pipe(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is no regular file"):
        reading.sha256(tmp_path / "pipe")
