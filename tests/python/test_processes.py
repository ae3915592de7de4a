"""Learners and kernels in worker processes: a fork has none of its parent's threads, and waits for none."""

from __future__ import annotations

import os
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


FORKS = """
import multiprocessing, os, signal, sys, threading, torch
import mambacl

config = mambacl.SequenceConfig(mambacl.VectorEncoder(dim=16), d_model=64, n_layer=1)
learner = mambacl.Learner(config).eval()
x = torch.randn(1, 400, 16, generator=torch.Generator().manual_seed(0))
y = torch.arange(400)[None] % 8

@torch.no_grad()
def answer(_=None):
    state = learner.observe(learner.init_state(), x, y)
    return learner.predict(state, x)

def agrees(expected):
    signal.alarm(30)  # ends a child that waits for ever
    got = answer()
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    assert torch.get_num_threads() == 1

def forked(then):
    child = os.fork()
    if child == 0:
        try:
            then()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "the child failed or hung"

def in_a_thread(call):
    failed = []
    def run():
        try:
            call()
        except BaseException as error:
            failed.append(error)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert not failed, failed

def main(way):
    torch.set_num_threads(2)
    if way == "before torch has run":
        forked(answer)
        return
    expected = answer()
    check = lambda: agrees(expected)
    if way == "fork":
        forked(check)
    elif way == "a fork of a fork":
        forked(lambda: (check(), forked(check)))
    elif way == "a thread forks":
        in_a_thread(lambda: (answer(), forked(check)))
    elif way == "the fork has a thread":
        forked(lambda: in_a_thread(check))
    elif way == "pool":
        with multiprocessing.get_context("fork").Pool(2) as pool:
            for got in pool.map_async(answer, range(3)).get(timeout=60):
                torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    assert torch.get_num_threads() == 2  # the parent keeps its own

if __name__ == "__main__":
    for way in sys.argv[1:]:
        main(way)
        print(way)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
@pytest.mark.parametrize(
    "ways",
    [
        ["before torch has run"],
        ["fork", "a fork of a fork", "a thread forks", "the fork has a thread", "pool"],
    ],
)
def test_a_learner_goes_on_in_a_fork(ways: list[str], tmp_path: Path):
    script = tmp_path / "forks.py"
    script.write_text(FORKS)
    done = subprocess.run([sys.executable, script, *ways], capture_output=True, text=True, timeout=200)
    assert done.stdout.splitlines() == ways, done.stderr
