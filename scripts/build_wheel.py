"""Builds the wheel for one of the supported torch versions: `make wheel`, or `make wheel TORCH=2.11.0`.

One source serves every torch. What differs is the pin of torch in pyproject.toml, the lock file (the version
of tch follows that of torch) and the suffix of the package's version; they are set in a copy of the sources,
so that no tracked file is edited. `locks/README.md` says how a torch version is added.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ROOT / "locks"


def default_torch() -> str:
    """The torch that pyproject.toml pins, the one Cargo.lock belongs to."""
    pins = set(re.findall(r'"torch==([^"]+)"', (ROOT / "pyproject.toml").read_text()))
    if len(pins) != 1:
        sys.exit(f"build_wheel: pyproject.toml must pin one torch, got {sorted(pins)}")
    return pins.pop()


def supported() -> dict[str, Path]:
    """The lock file of each torch version there is one for, the default first."""
    others = {path.parent.name.removeprefix("torch-"): path for path in LOCKS.glob("torch-*/Cargo.lock")}
    return {default_torch(): ROOT / "Cargo.lock", **dict(sorted(others.items()))}


def stage(torch: str, target: Path) -> None:
    """Writes the sources for `torch` into `target`, a folder that is not there yet.

    A torch other than the default shows in the version, as a local suffix: `0.1.0+torch2.11.0`.
    """
    if not (ROOT / ".git").exists():
        sys.exit(f"build_wheel: {ROOT} must be a git checkout: git tells which files are sources")
    lock = supported()[torch]
    # All that git would take into a commit, which is also what maturin packs.
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.check_output(listed, cwd=ROOT, text=True).split("\0"):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    if torch == default_torch():
        return
    shutil.copy2(lock, target / "Cargo.lock")
    _replace(target / "pyproject.toml", r'"torch==[^"]+"', f'"torch=={torch}"', times=2)
    version = rf"\g<1>+torch{torch}"
    _replace(target / "Cargo.toml", r'^(version = "[^"+]+)(?=")', version, times=1)
    _replace(target / "Cargo.lock", r'(name = "mambacl"\nversion = "[^"+]+)(?=")', version, times=1)


def _replace(path: Path, pattern: str, by: str, times: int) -> None:
    text, count = re.subn(pattern, by, path.read_text(), flags=re.MULTILINE)
    if count != times:
        sys.exit(f"build_wheel: {path.name} must hold {pattern!r} {times} times, found {count}")
    path.write_text(text)


def main() -> None:
    """Builds the wheel that the command line asks for, in an isolated environment with its torch."""
    parser = argparse.ArgumentParser(description="Build mambacl's wheel for one torch version.")
    parser.add_argument("--torch", default=default_torch(), help="version of torch (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="folder of the wheel")
    arguments = parser.parse_args()
    if arguments.torch not in supported():
        sys.exit(
            f"build_wheel: TORCH must be one of {', '.join(supported())}, got {arguments.torch!r}; "
            "locks/README.md says how a version is added"
        )
    with tempfile.TemporaryDirectory(prefix="mambacl-") as folder:
        sources = Path(folder) / "mambacl"
        stage(arguments.torch, sources)
        environment = {
            # What was compiled is kept; the copy is not.
            "CARGO_TARGET_DIR": str(ROOT / "target" / f"wheel-torch-{arguments.torch}"),
            "MATURIN_PEP517_ARGS": "--locked",
        } | dict(os.environ)
        command = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--no-deps",
            "--wheel-dir",
            arguments.output,
            sources,
        ]
        sys.exit(subprocess.run(command, env=environment).returncode)


if __name__ == "__main__":
    main()
