"""All that can be said of mambacl on a GPU, by one command: `make gpu-check`.

With a wheel of mambacl and pytest installed it runs the benchmarks, the GPU tests on fresh inputs, and
those of the operations again under compute-sanitizer where there is one. It prints tables and writes them
with the raw numbers into a folder, after each part anew: what was measured stays when the rest is stopped.
`--device cpu` is a dry run of the benchmarks, in small.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import traceback
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch

from mambacl import __version__
from mambacl.bench.gpu import TINY, Sizes, measure, tables

ROOT = Path(__file__).resolve().parent.parent
GPU_TESTS = ROOT / "tests" / "python" / "gpu"
PARTS = ("benchmarks", "tests", "sanitizer")
TOOLS = ("memcheck", "racecheck")
SANITIZED = "padding or (of_every_length_and_type and float32)"
"""Of the tests of operations: under the sanitizer each takes many times as long."""
PATIENCE = 480
"""Seconds for the tests, and for each tool of the sanitizer."""


def main() -> int:
    """Runs what was asked for.

    Returns:
        0, or 1 where a test failed or did not end in time.
    """
    parser = argparse.ArgumentParser(description="GPU tests and benchmarks of mambacl, as tables.")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu for a dry run")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu-check"), help="folder of the results")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="all, if none is named")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 20), help="of the tests' inputs")
    told = parser.parse_args()
    device = torch.device(told.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit(
            f"gpu-check: torch {torch.__version__} (CUDA {torch.version.cuda}) sees no GPU; --device cpu"
        )
    told.out.mkdir(parents=True, exist_ok=True)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU, a dry run: no result"
    page: list[str] = []
    failed = False

    def tell(*lines: str) -> None:
        print("\n".join(lines), flush=True)
        page.extend(lines)
        (told.out / f"{'-'.join(told.parts)}.md").write_text("\n".join(page) + "\n")

    tell(f"## mambacl {__version__}, torch {torch.__version__} (CUDA {torch.version.cuda}), {name}", "")
    if "benchmarks" in told.parts:
        try:
            rows, notes = measure(device, Sizes() if device.type == "cuda" else TINY)
        except Exception as error:  # the tests, which come after, say more of what is wrong
            traceback.print_exc()
            tell(f"- benchmarks: failed ({error!r})")
            failed = True
        else:
            numbers = {"device": name, "torch": torch.__version__, "rows": [asdict(row) for row in rows]}
            (told.out / "measured.json").write_text(json.dumps(numbers, indent=1) + "\n")
            tell(tables(rows), *(f"- {note}" for note in notes))
    if device.type == "cuda":
        for what, came in run_tests(told.parts, told.seed, told.out):
            tell(f"- {what}: {came}")
            failed |= not came.startswith(("passed", "not run"))
    return int(failed)


def run_tests(parts: tuple[str, ...], seed: int, out: Path) -> Iterator[tuple[str, str]]:
    """Runs the GPU tests, and the operations' under each tool of compute-sanitizer.

    Args:
        parts: "tests", "sanitizer" or both.
        seed: Of the tests' inputs.
        out: Folder of the logs.

    Yields:
        What was run, and what came of it.
    """
    # Warnings of other packages, which the versions of a machine may bring, are no errors here.
    tests = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-W", "default"]
    environment = {**os.environ, "MAMBACL_GPU_SEED": str(seed)}
    if "tests" in parts:
        yield f"GPU tests (seed {seed})", _run([*tests, str(GPU_TESTS)], environment, out / "tests.log")
    if "sanitizer" not in parts:
        return
    sanitizer = shutil.which("compute-sanitizer") or shutil.which("/usr/local/cuda/bin/compute-sanitizer")
    for tool in TOOLS:
        if sanitizer is None:
            yield tool, "not run: there is no compute-sanitizer (of the CUDA toolkit) on the PATH"
            continue
        # torch tolerates errors of calls that it makes to find out: only those of kernels count.
        under = [sanitizer, "--tool", tool, "--error-exitcode", "9", "--report-api-errors", "no"]
        # Else torch's allocator hides what lies beyond a tensor.
        alone = {**environment, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
        log = out / f"{tool}.log"
        touch = [sys.executable, "-c", "import torch; torch.ones(1, device='cuda').add_(1)"]
        if not _run([*under, *touch], alone, log).startswith("passed"):
            yield tool, f"not run: it does not work on this machine ({log})"
            continue
        chosen = [str(GPU_TESTS / "test_ops_on_gpu.py"), "-k", SANITIZED]
        yield tool, _run([*under, *tests, *chosen], alone, log)


def _run(command: list[str], environment: dict[str, str], log: Path) -> str:
    """Runs a command into a log: "passed", or "failed" or "stopped"; with the log's last line."""
    with log.open("w") as into:
        try:
            ended = subprocess.run(
                command, cwd=ROOT, env=environment, stdout=into, stderr=subprocess.STDOUT, timeout=PATIENCE
            )
            came = "passed" if ended.returncode == 0 else "failed"
        except subprocess.TimeoutExpired:
            came = f"stopped after {PATIENCE} s"
    lines = log.read_text(errors="replace").splitlines()
    return f"{came} ({lines[-1].strip('= ') if lines else 'said nothing'})"


if __name__ == "__main__":
    sys.exit(main())
