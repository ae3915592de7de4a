"""All that can be said of mambacl on a GPU, by one command: `make gpu-check`.

With a wheel of mambacl and pytest installed it runs the GPU tests on fresh inputs, the operations again under
compute-sanitizer where there is one, and the benchmarks. It prints tables and writes them with the raw
numbers into a folder. `--device cpu` is a dry run of the benchmarks, in small.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from mambacl import __version__
from mambacl.bench.gpu import TINY, Sizes, measure, tables

ROOT = Path(__file__).resolve().parent.parent
GPU_TESTS = ROOT / "tests" / "python" / "gpu"
TOOLS = ("memcheck", "racecheck")
SANITIZED = "of_every_length_and_type or padding or any_options"
"""Of the tests of operations: under the sanitizer each takes many times as long."""


def main() -> int:
    """Runs what was asked for.

    Returns:
        0, or 1 where a test failed.
    """
    parser = argparse.ArgumentParser(description="GPU tests and benchmarks of mambacl, as tables.")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu for a dry run")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu-check"), help="folder of the results")
    parser.add_argument("--no-tests", action="store_true", help="benchmarks alone")
    parser.add_argument("--no-benchmarks", action="store_true", help="tests alone")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 20), help="of the tests' inputs")
    told = parser.parse_args()
    device = torch.device(told.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit(
            f"gpu-check: torch {torch.__version__} (CUDA {torch.version.cuda}) sees no GPU; --device cpu"
        )
    told.out.mkdir(parents=True, exist_ok=True)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU, a dry run: no result"
    page = [f"## mambacl {__version__}, torch {torch.__version__} (CUDA {torch.version.cuda}), {name}\n"]
    failed = False
    if not told.no_tests and device.type == "cuda":
        for what, passed in run_tests(told.seed, told.out).items():
            page.append(f"- {what}: {passed}")
            failed |= passed == "failed"
    if not told.no_benchmarks:
        rows, notes = measure(device, Sizes() if device.type == "cuda" else TINY)
        page += ["", tables(rows), *(f"- {note}" for note in notes)]
        numbers = {"device": name, "torch": torch.__version__, "rows": [asdict(row) for row in rows]}
        (told.out / "measured.json").write_text(json.dumps(numbers, indent=1) + "\n")
    text = "\n".join(page) + "\n"
    (told.out / "measured.md").write_text(text)
    print(text)
    return int(failed)


def run_tests(seed: int, out: Path) -> dict[str, str]:
    """Runs the GPU tests, and the operations' under each tool of compute-sanitizer.

    Args:
        seed: Of their inputs.
        out: Folder of the logs.

    Returns:
        What came of each: "passed", "failed" or why it was not run.
    """
    tests = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"]
    environment = {**os.environ, "MAMBACL_GPU_SEED": str(seed)}
    told = {f"GPU tests (seed {seed})": _run([*tests, str(GPU_TESTS)], environment, out / "tests.log")}
    sanitizer = shutil.which("compute-sanitizer") or shutil.which("/usr/local/cuda/bin/compute-sanitizer")
    for tool in TOOLS:
        if sanitizer is None:
            told[tool] = "not run: there is no compute-sanitizer (of the CUDA toolkit) on the PATH"
            continue
        # Else torch's allocator hides what lies beyond a tensor.
        alone = {**environment, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
        chosen = [str(GPU_TESTS / "test_ops_on_gpu.py"), "-k", SANITIZED]
        command = [sanitizer, "--tool", tool, "--error-exitcode", "9", *tests, *chosen]
        told[tool] = _run(command, alone, out / f"{tool}.log")
    return told


def _run(command: list[str], environment: dict[str, str], log: Path) -> str:
    with log.open("w") as into:
        status = subprocess.run(command, cwd=ROOT, env=environment, stdout=into, stderr=subprocess.STDOUT)
    print("\n".join(log.read_text(errors="replace").splitlines()[-5:]), file=sys.stderr)
    return "passed" if status.returncode == 0 else "failed"


if __name__ == "__main__":
    sys.exit(main())
