"""Forked processes: torch's threads do not survive a fork, and whoever waits for them waits for ever."""

from __future__ import annotations

import os

import torch


def run_on_one_thread() -> None:
    """Gives torch one thread in each process that is forked from this one, and in those forked from it.

    The engine's kernels follow, as they run on torch's threads. `os.fork`, `multiprocessing` and servers that
    fork their workers all run what is registered here; it takes some 50 microseconds. Started by "spawn" or
    "forkserver", a process may have as many threads as it likes.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_one_thread)


def _one_thread() -> None:
    torch.set_num_threads(1)
