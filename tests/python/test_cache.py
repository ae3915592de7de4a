"""The cache: a file is whole or not there, and never trusted blindly."""

import logging
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mambacl.data.cache import cache_folder, cached

NAME = "made.safetensors"


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MAMBACL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def made() -> torch.Tensor:
    return torch.arange(24.0).view(4, 3, 2).half()


def never() -> torch.Tensor:
    raise AssertionError("computed although there is a good file")


def test_computed_once():
    assert torch.equal(cached(NAME, made), made())
    again = cached(NAME, never)
    assert again.dtype == torch.float16
    assert torch.equal(again, made())
    again.zero_()
    assert torch.equal(cached(NAME, never), made())


def test_another_name_is_another_tensor():
    cached(NAME, made)
    assert torch.equal(cached("other", lambda: made() + 1), made() + 1)


def cut(contents: bytes) -> bytes:
    return contents[:-5]


def flipped(contents: bytes) -> bytes:
    return contents[:-5] + bytes([contents[-5] ^ 1]) + contents[-4:]


@pytest.mark.parametrize("damage", [cut, flipped, lambda contents: b"", lambda contents: b"nonsense" * 9])
def test_a_damaged_file_is_computed_again_with_a_warning(
    folder: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[bytes], bytes]
):
    cached(NAME, made)
    good = (folder / NAME).read_bytes()
    (folder / NAME).write_bytes(damage(good))
    with caplog.at_level(logging.WARNING, logger="mambacl"):
        assert torch.equal(cached(NAME, made), made())
    assert "damaged and computed again" in caplog.text
    assert (folder / NAME).read_bytes() == good


def test_a_file_of_other_contents_is_damaged(folder: Path, caplog: pytest.LogCaptureFixture):
    from safetensors.torch import save_file

    folder.mkdir()
    for contents in ({"tensor": made()}, {"other": made()}):  # without a digest, without our tensor
        caplog.clear()
        save_file(contents, folder / NAME)
        assert torch.equal(cached(NAME, made), made())
        assert "damaged and computed again" in caplog.text


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failure_while_writing_leaves_no_file_and_costs_a_warning(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, failing: str
):
    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, failing, fail)
    assert torch.equal(cached(NAME, made), made())
    assert "no space left" in caplog.text
    assert list(folder.iterdir()) == []


def test_an_exception_while_computing_leaves_no_file(folder: Path):
    with pytest.raises(KeyboardInterrupt):
        cached(NAME, lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    assert not folder.exists()


def test_a_process_killed_while_writing_leaves_no_file_of_that_name(folder: Path):
    script = """
        import os, signal, torch
        from mambacl.data.cache import cached
        os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)  # after the write, before the name
        cached("made.safetensors", lambda: torch.ones(3))
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert killed.returncode == -9
    assert not (folder / NAME).exists()
    assert torch.equal(cached(NAME, made), made())


def test_two_that_compute_at_once_both_get_it():
    def meanwhile() -> torch.Tensor:
        cached(NAME, made)
        return made()

    assert torch.equal(cached(NAME, meanwhile), made())
    assert torch.equal(cached(NAME, never), made())


def test_the_folder_is_the_users_without_the_variable(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MAMBACL_CACHE")
    assert "mambacl" in cache_folder().parts
