"""Kernels in worker processes: a fork has none of its parent's threads, and must not wait for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import multiprocessing, sys, torch
from mambacl import ops

def scan():
    u = torch.randn(4, 50, 64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    state = torch.ones(4, 50, 16)
    y = ops.selective_scan(u, u, -torch.ones(64, 16), state, state)
    y.sum().backward()
    return y.detach().tolist(), u.grad.tolist()

def answer(queue):
    queue.put(scan())

if __name__ == "__main__":
    torch.set_num_threads(2)
    here = scan()
    context = multiprocessing.get_context(sys.argv[1])
    queue = context.Queue()
    worker = context.Process(target=answer, args=(queue,), daemon=True)
    worker.start()
    print(queue.get(timeout=60) == here)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_worker_computes_the_same(method: str, tmp_path: Path):
    script = tmp_path / "workers.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, script, method], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "True", done.stderr
