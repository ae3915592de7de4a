"""Standard streams that are missing, closed by their reader, full, or short of a character."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mambacl.cli import main
from mambacl.processes.standard_streams import standard_streams


def test_a_character_that_the_encoding_lacks_is_written_out(monkeypatch: pytest.MonkeyPatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii", errors="strict"))
    with standard_streams():
        print("0.5 ± 0.1, \udcff")
    assert written.getvalue() == b"0.5 \\xb1 0.1, \\udcff\n"


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["list"], ["data", "list"]])
def test_a_reader_that_has_gone_ends_the_command(monkeypatch: pytest.MonkeyPatch, arguments: list[str]):
    reading, writing = os.pipe()
    os.close(reading)
    stdout = os.fdopen(writing, "w", encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr(sys, "argv", ["mambacl", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 141
    stdout.write("what is left")
    stdout.close()  # goes nowhere, without an error


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("arguments", [["--help"], ["list"]])
def test_an_output_that_cannot_be_written_is_a_line(monkeypatch: pytest.MonkeyPatch, arguments: list[str]):
    stdout = open("/dev/full", "w", encoding="utf-8")  # noqa: SIM115 (closed below)
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr(sys, "argv", ["mambacl", *arguments])
    with pytest.raises(SystemExit, match=r"^mambacl: the output could not be written: .*No space left"):
        main()
    stdout.close()


def test_a_status_stays_as_it_is(capsys: pytest.CaptureFixture[str]):
    def ends() -> None:
        with standard_streams():
            print("told")
            sys.exit(3)

    with pytest.raises(SystemExit) as end:
        ends()
    assert end.value.code == 3
    assert capsys.readouterr().out == "told\n"


def test_missing_streams_are_empty(monkeypatch: pytest.MonkeyPatch):
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    with standard_streams():
        print("told")
        print("told", file=sys.stderr)
        assert not sys.stdin.read()
        made = [sys.stdin, sys.stdout, sys.stderr]
    for stream in made:
        stream.close()


def test_a_command_without_an_output(tmp_path: Path):
    done = subprocess.run(
        ["bash", "-c", 'exec "$0" -m mambacl list >&-', sys.executable],
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert not [*tmp_path.iterdir()]
