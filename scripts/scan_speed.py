"""How much faster the fused scan is than its reference loop, forward and backward.

    .venv/bin/python scripts/scan_speed.py

Batch 16, length 200, d_inner 256, d_state 16, float32, with bias, softplus, skip and gate. Medians of
interleaved repeats in one process; only the ratio is to be compared between machines.
"""

import statistics
import time
from collections.abc import Callable

import torch

from mambacl import _core, ops

BATCH, LENGTH, D_INNER, D_STATE = 16, 200, 256, 16
REPEATS = 7


def main() -> None:
    torch.manual_seed(0)
    sequence = (BATCH, LENGTH, D_INNER)
    leaves = {
        "u": torch.randn(sequence),
        "delta": torch.randn(sequence),
        "A": -torch.rand(D_INNER, D_STATE),
        "B": torch.randn(BATCH, LENGTH, D_STATE),
        "C": torch.randn(BATCH, LENGTH, D_STATE),
        "D": torch.randn(D_INNER),
        "z": torch.randn(sequence),
        "delta_bias": torch.randn(D_INNER),
    }
    for leaf in leaves.values():
        leaf.requires_grad_()

    def step(scan: Callable[..., torch.Tensor]) -> float:
        began = time.perf_counter()
        scan(**leaves, delta_softplus=True).sum().backward()
        return time.perf_counter() - began

    scans = {"fused": ops.selective_scan, "reference": ops.reference.selective_scan}
    times: dict[str, list[float]] = {name: [] for name in scans}
    for scan in scans.values():
        step(scan)
    for _ in range(REPEATS):
        for name, scan in scans.items():
            times[name].append(step(scan))
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"torch {torch.__version__}, {_core.simd_level()}, {torch.get_num_threads()} threads")
    for name, median in medians.items():
        print(f"{name:<10} {median * 1e3:8.1f} ms forward + backward")
    print(f"ratio      {medians['reference'] / medians['fused']:8.1f}")


if __name__ == "__main__":
    main()
