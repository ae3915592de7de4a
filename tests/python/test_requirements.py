"""The checks before the engine is loaded: another torch, and an engine that is not built."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import mambacl
from mambacl import _requirements

PACKAGE = Path(mambacl.__path__[0])


def installed(monkeypatch: pytest.MonkeyPatch, requirements: list[str] | None, found: str) -> None:
    """Sets what mambacl's metadata require and which torch there is."""
    monkeypatch.setattr(_requirements, "requires", lambda name: requirements)
    monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion(found))


@pytest.mark.parametrize(
    ("requirement", "found"),
    [
        ("torch==2.13.0", "2.13.0"),
        ("torch==2.13.0", "2.13.0+cpu"),
        ("torch==2.13.0", "2.13.0+cu130"),
        ("torch==2.13.0+cpu", "2.13.0+cu130"),
        ("torch (==2.13.0)", "2.13.0"),
        ("torch == 2.13.0 ; python_version > '3'", "2.13.0"),
        # No pin, nothing to compare with; torchvision is not torch.
        ("torch>=2.13.0", "2.11.0"),
        ("torchvision==0.20.0", "2.11.0"),
    ],
)
def test_a_torch_that_fits_passes(monkeypatch: pytest.MonkeyPatch, requirement: str, found: str):
    installed(monkeypatch, ["numpy>=1.26", requirement], found)
    _requirements.check()


@pytest.mark.parametrize("found", ["2.11.0", "2.13.1", "2.13.0a0+git1234", "2.1", "2.13.0rc1"])
def test_another_torch_is_refused(monkeypatch: pytest.MonkeyPatch, found: str):
    installed(monkeypatch, ["numpy>=1.26", "torch==2.13.0"], found)
    with pytest.raises(ImportError, match=r"built for torch 2\.13\.0") as refused:
        _requirements.check()
    assert f"torch {found} is installed" in str(refused.value)
    assert 'pip install "torch==2.13.0"' in str(refused.value)


def test_without_metadata_nothing_is_compared(monkeypatch: pytest.MonkeyPatch):
    def requires(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(_requirements, "requires", requires)
    monkeypatch.setattr(torch, "__version__", "1.0")
    _requirements.check()


def test_metadata_without_requirements_pass(monkeypatch: pytest.MonkeyPatch):
    installed(monkeypatch, None, "1.0")
    _requirements.check()


def import_mambacl(*folders: Path) -> str:
    """Imports mambacl in another process with `folders` first on the path; returns what it says."""
    paths = os.pathsep.join(map(str, folders))
    result = subprocess.run(
        [sys.executable, "-c", "import mambacl"],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    return result.stderr


@pytest.fixture
def toy_torch(tmp_path: Path) -> None:
    """A torch of one line in `tmp_path`: an engine loaded beside it would miss libtorch's symbols."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("__version__ = '1.0.0'\n")


@pytest.mark.usefixtures("toy_torch")
def test_the_import_stops_before_the_engine_is_loaded(tmp_path: Path):
    information = tmp_path / "mambacl-0.1.0.dist-info"
    information.mkdir()
    information.joinpath("METADATA").write_text(
        "Metadata-Version: 2.4\nName: mambacl\nVersion: 0.1.0\nRequires-Dist: torch==2.13.0\n"
    )
    said = import_mambacl(tmp_path, PACKAGE.parent)
    assert "ImportError: mambacl: its engine was built for torch 2.13.0, but torch 1.0.0 is installed" in said


@pytest.mark.usefixtures("toy_torch")
def test_an_engine_that_is_not_built_is_named(tmp_path: Path):
    shutil.copytree(PACKAGE, tmp_path / "mambacl", ignore=shutil.ignore_patterns("*.so", "*.npz"))
    said = import_mambacl(tmp_path)
    assert f"ImportError: mambacl: its compiled engine, mambacl._core, is missing from {tmp_path}" in said
    assert "make setup" in said
