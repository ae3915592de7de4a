"""The command line, in the process of the tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mambacl import cli


class Shell:
    """`mambacl` with arguments; the fixture `shell` makes one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: str | Path) -> str:
        """What it prints."""
        self._monkeypatch.setattr(sys, "argv", ["mambacl", *map(str, arguments)])
        cli.main()
        return self._capsys.readouterr().out

    def fails(self, *arguments: str | Path) -> str:
        """What it ends with, and all that it prints before."""
        with pytest.raises(SystemExit) as stop:
            self(*arguments)
        assert stop.value.code not in (0, None)
        said = self._capsys.readouterr()
        return f"{stop.value.code}\n{said.out}{said.err}"
