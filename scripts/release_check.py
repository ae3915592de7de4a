"""Tries the wheel as users get it: `make release-check`, or with PYTHONS="python3.10 /opt/bin/python3.13".

Builds the wheel, and for each supported Python that is found makes an environment, installs the wheel there
with all that it needs, and then, away from the sources: imports mambacl, runs the README's first example and
all doctests, trains for two steps and evaluates. An environment takes 5 GB, most of it torch, and is removed
before the next one is made.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SUPPORTED = ("3.10", "3.11", "3.12", "3.13")

DOCTESTS = """
import doctest, importlib, pkgutil, mambacl

failed = tried = 0
for module in pkgutil.walk_packages(mambacl.__path__, "mambacl."):
    if not module.name.endswith("__main__"):
        found = doctest.testmod(importlib.import_module(module.name))
        failed, tried = failed + found.failed, tried + found.attempted
print(f"{tried} lines of doctests, {failed} failed")
assert tried > 100 and not failed
"""

TRAIN = "train glyphs-mamba --steps 2 --set train.batch_size=2 --set train.validation_episodes=2 --quiet"
COMMANDS = (
    "list",
    "info",
    f"{TRAIN} --run-dir run",
    "evaluate run --episodes 2 --matrix-episodes 1",
)


def version(python: str) -> str | None:
    """The version of an interpreter, such as "3.12"; None if there is none."""
    asked = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True)
    except OSError:
        return None
    return told.stdout.strip() if told.returncode == 0 else None


def found(pythons: list[str]) -> dict[str, str]:
    """The interpreters to try, by version: those that are named, or the supported ones on the PATH."""
    if not pythons:
        names = {supported: f"python{supported}" for supported in SUPPORTED}
        return {supported: name for supported, name in names.items() if version(name) == supported}
    by_version: dict[str, str] = {}
    for python in pythons:
        told = version(python)
        if told not in SUPPORTED:
            sys.exit(
                f"release_check: {python} must be a Python of {', '.join(SUPPORTED)}, got {told or 'none'}"
            )
        by_version[told] = python
    return by_version


def first_example() -> str:
    """The first Python of the README."""
    block = re.search(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert block is not None
    return block[1]


def check(python: str, wheel: Path, folder: Path) -> None:
    """Installs the wheel for one Python, and tries it.

    Raises:
        CalledProcessError: If anything fails.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment["MAMBACL_CACHE"] = str(folder / "cache")
    away = Path(tempfile.mkdtemp(dir=folder, prefix="away-"))

    def run(*words: str | Path) -> None:
        subprocess.run(words, check=True, cwd=away, env=environment)

    if not (folder / "bin").exists():
        run(python, "-m", "venv", folder)
    run(folder / "bin" / "python", "-m", "pip", "install", "--quiet", wheel)
    for code in ("import mambacl; print(mambacl.__version__, mambacl.__file__)", first_example(), DOCTESTS):
        run(folder / "bin" / "python", "-c", code)
    for command in COMMANDS:
        run(folder / "bin" / "mambacl", *command.split())


def built(folder: Path) -> Path:
    """A wheel made from these sources."""
    script = ROOT / "scripts" / "build_wheel.py"
    subprocess.run([sys.executable, script, "--output", folder], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def main() -> None:
    """Tries every Python, and says which did well."""
    parser = argparse.ArgumentParser(description="Install the wheel in clean environments, and try it.")
    parser.add_argument("pythons", nargs="*", help="interpreters; by default python3.10 to python3.13")
    parser.add_argument("--wheel", type=Path, help="a wheel that is there; by default one is built")
    parser.add_argument("--environments", type=Path, help="folder to keep the environments in")
    arguments = parser.parse_args()
    pythons = found(arguments.pythons)
    failed = not pythons
    with tempfile.TemporaryDirectory(prefix="mambacl-release-") as folder:
        wheel: Path = arguments.wheel.resolve() if arguments.wheel else built(Path(folder) / "dist")
        told: dict[str, str] = {}
        for supported in SUPPORTED:
            if supported not in pythons:
                told[supported] = "not tried: there is no such Python here"
                continue
            with tempfile.TemporaryDirectory(dir=folder) as fresh:
                kept = Path(fresh) if arguments.environments is None else arguments.environments / supported
                kept.mkdir(parents=True, exist_ok=True)
                try:
                    check(pythons[supported], wheel, kept)
                    told[supported] = "good"
                except subprocess.CalledProcessError as error:
                    told[supported] = f"failed: {' '.join(map(str, error.cmd))[:200]}"
                    failed = True
    print(f"\n{wheel.name}")
    for supported, outcome in told.items():
        print(f"  Python {supported}: {outcome}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
