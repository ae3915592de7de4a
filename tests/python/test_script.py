"""Modules that are run as commands."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from mambacl.errors import ConfigError
from mambacl.processes.script import script


@dataclass(frozen=True)
class Greeting:
    """Greet.

    Attributes:
        name: Whom.
    """

    name: str


def greet(settings: Greeting) -> str:
    match settings.name:
        case "nobody":
            raise ConfigError("greeting: `name` must be somebody")
        case "disk":
            Path("/nowhere/greeting").write_text(settings.name)
        case "ctrl-c":
            raise KeyboardInterrupt
    return f"hello {settings.name}, on {torch.get_num_threads()} thread"


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def told(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(sys, "argv", ["greet", "--name", name])
    script(Greeting, greet, "mambacl.greet")


def test_what_came_of_it_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    told(monkeypatch, "you")
    assert capsys.readouterr().out == "hello you, on 1 thread\n"


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("nobody", r"^mambacl: greeting: `name` must be somebody$"),
        ("disk", r"^mambacl: .*/nowhere/greeting"),
        ("ctrl-c", "^130$"),
    ],
)
def test_an_error_is_a_line_and_a_status(monkeypatch: pytest.MonkeyPatch, name: str, status: str):
    with pytest.raises(SystemExit, match=status):
        told(monkeypatch, name)


@pytest.mark.parametrize(
    "module", ["streams.pretrain", "streams.comparison", "encoder_training.glyph_encoder"]
)
def test_the_modules_tell_their_settings(module: str):
    command = [sys.executable, "-m", f"mambacl.{module}", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert f"usage: python -m mambacl.{module} [-h] " in done.stdout
    assert "--out" in done.stdout
