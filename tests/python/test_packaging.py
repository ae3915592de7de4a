"""Files that must agree for a build: the pins of torch, the lock files, the data that are packed."""

from __future__ import annotations

import importlib.util
import re
import sys
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import mambacl

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
if not (ROOT / "pyproject.toml").exists():
    pytest.skip("the tests run without the sources", allow_module_level=True)

TCH = {"2.13.0": "0.26.", "2.11.0": "0.24."}
"""The tch made for each torch, as its README says."""


def read(*parts: str) -> dict[str, Any]:
    return tomllib.loads(ROOT.joinpath(*parts).read_text(encoding="utf-8"))


def packages(lock: dict[str, Any]) -> dict[str, Any]:
    """A lock file's packages by name and version, without those that follow torch."""
    return {
        f"{package['name']} {package['version']}": package
        for package in lock["package"]
        if package["name"] not in {"tch", "torch-sys"}
    }


@pytest.fixture(scope="module")
def build_wheel() -> ModuleType:
    """`scripts/build_wheel.py` as a module."""
    spec = importlib.util.spec_from_file_location("build_wheel", ROOT / "scripts" / "build_wheel.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pins_agree():
    pyproject = read("pyproject.toml")
    requires = pyproject["build-system"]["requires"]
    (torch,) = (pin for pin in requires if pin.startswith("torch"))
    assert re.fullmatch(r"torch==\d+\.\d+\.\d+", torch)
    assert [pin for pin in pyproject["project"]["dependencies"] if pin.startswith("torch")] == [torch]
    makefile = (ROOT / "Makefile").read_text()
    assert set(re.findall(r'"((?:torch|maturin)[=<>][^"]*)"', makefile)) == set(requires)


def test_the_version_is_that_of_the_engine():
    # One source: maturin and the engine read Cargo.toml. A local suffix names a torch (build_wheel.py).
    assert "version" in read("pyproject.toml")["project"]["dynamic"]
    assert mambacl.__version__.split("+")[0] == read("Cargo.toml")["package"]["version"]


def test_each_lock_file_holds_the_tch_of_its_torch(build_wheel: ModuleType):
    assert set(build_wheel.supported()) == set(TCH)
    for torch, path in build_wheel.supported().items():
        lock = tomllib.loads(path.read_text())
        bindings = {p["name"]: p["version"] for p in lock["package"] if p["name"] in {"tch", "torch-sys"}}
        assert bindings.keys() == {"tch", "torch-sys"}
        assert all(version.startswith(TCH[torch]) for version in bindings.values()), torch


def test_lock_files_differ_in_nothing_else(build_wheel: ModuleType):
    # locks/README.md has the commands that bring them up to date.
    for path in build_wheel.supported().values():
        assert packages(tomllib.loads(path.read_text())) == packages(read("Cargo.lock")), path


needs_git = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="git tells which files are sources")


@needs_git
def test_a_copy_for_another_torch_has_its_pins_and_lock(build_wheel: ModuleType, tmp_path: Path):
    build_wheel.stage("2.11.0", tmp_path / "copy")
    pyproject = (tmp_path / "copy" / "pyproject.toml").read_text()
    assert re.findall(r"torch==[\d.]+", pyproject) == ["torch==2.11.0", "torch==2.11.0"]
    version = f"{read('Cargo.toml')['package']['version']}+torch2.11.0"
    cargo = tomllib.loads((tmp_path / "copy" / "Cargo.toml").read_text())
    assert cargo["package"]["version"] == version
    assert cargo["dependencies"] == read("Cargo.toml")["dependencies"]
    lock = tomllib.loads((tmp_path / "copy" / "Cargo.lock").read_text())
    assert [p["version"] for p in lock["package"] if p["name"] == "mambacl"] == [version]
    assert [p["version"][:5] for p in lock["package"] if p["name"] == "tch"] == ["0.24."]
    # All else is as it was.
    for name in ("src/lib.rs", "build_backend/mambacl_build.py", "python/mambacl/data/files/hanzi21.npz"):
        assert (tmp_path / "copy" / name).read_bytes() == (ROOT / name).read_bytes()
    assert not list((tmp_path / "copy").rglob("*.so"))


@needs_git
def test_a_copy_for_the_default_torch_is_a_copy(build_wheel: ModuleType, tmp_path: Path):
    build_wheel.stage(build_wheel.default_torch(), tmp_path / "copy")
    for name in ("pyproject.toml", "Cargo.toml", "Cargo.lock"):
        assert (tmp_path / "copy" / name).read_bytes() == (ROOT / name).read_bytes()


def test_a_torch_without_a_lock_file_is_refused(build_wheel: ModuleType, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["build_wheel.py", "--torch", "2.12.0"])
    with pytest.raises(SystemExit, match=r"must be one of 2\.13\.0, 2\.11\.0, got '2\.12\.0'"):
        build_wheel.main()


def test_data_files_are_packed_and_found():
    folder = ROOT / "python" / "mambacl"
    code = {".py", ".pyi", ".typed", ".so", ".pyc"}
    data = [path for path in folder.rglob("*") if path.is_file() and path.suffix not in code]
    assert folder / "data" / "files" / "hanzi21.npz" in data
    patterns = read("pyproject.toml")["tool"]["maturin"]["include"]
    packed = {path for pattern in patterns for path in ROOT.glob(pattern["path"])}
    assert set(data) <= packed, "add the suffix to tool.maturin.include"
    assert all(pattern["format"] == ["sdist", "wheel"] for pattern in patterns)
    for path in data:
        assert files("mambacl").joinpath(*path.relative_to(folder).parts).is_file()
    assert files("mambacl").joinpath("py.typed").is_file()
    assert files("mambacl").joinpath("_core.pyi").is_file()
