"""Ctrl-C is noted once and raised twice; handlers of others stay theirs; long work ends on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from gaussian_episodes import GaussianEpisodes, gaussian_learner
from mambacl import Episode, evaluate
from mambacl.data import hanzi21_features
from mambacl.training.interrupts import Interrupts

KINDS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {kind: signal.getsignal(kind) for kind in KINDS}
    yield
    for kind, handler in before.items():
        signal.signal(kind, handler)


def send(kind: signal.Signals = signal.SIGINT) -> None:
    os.kill(os.getpid(), kind)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_is_noted_and_the_second_raised(kind: signal.Signals):
    before = signal.getsignal(kind)
    with Interrupts() as interrupts:
        assert not interrupts.requested
        send(kind)
        assert interrupts.requested
        with pytest.raises(KeyboardInterrupt):
            send(kind)
    assert signal.getsignal(kind) is before


def test_what_changes_nothing_is_interrupted_at_once():
    done: list[int] = []

    def work() -> int:
        done.append(1)
        send()
        done.append(2)
        return 7

    with Interrupts() as interrupts:
        assert interrupts.at_once(lambda: 7) == 7
        assert interrupts.at_once(work) is None
        assert done == [1]
        assert interrupts.requested
        assert interrupts.at_once(work) is None  # it is not begun
        assert done == [1]


def test_after_such_work_an_interrupt_waits_again():
    with Interrupts() as interrupts:
        interrupts.at_once(lambda: 7)
        send()
        assert interrupts.requested


def test_errors_of_such_work_come_through():
    with Interrupts() as interrupts, pytest.raises(ZeroDivisionError):
        interrupts.at_once(lambda: 1 // 0)


@pytest.mark.parametrize("kind", KINDS)
def test_an_ignored_signal_stays_ignored(kind: signal.Signals):
    signal.signal(kind, signal.SIG_IGN)
    with Interrupts() as interrupts:
        send(kind)
        assert not interrupts.requested
    assert signal.getsignal(kind) == signal.SIG_IGN


def test_a_foreign_handler_is_left_in_place(monkeypatch: pytest.MonkeyPatch):
    """Python tells None of a handler that C code has set, and cannot set it again."""
    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(signal, "getsignal", lambda _kind: None)
        with Interrupts():
            patch.undo()
            assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_nothing_is_handled():
    before = [signal.getsignal(kind) for kind in KINDS]
    seen: list[object] = []

    def work() -> None:
        with Interrupts() as interrupts:
            seen.extend(signal.getsignal(kind) for kind in KINDS)
            seen.append(interrupts.at_once(lambda: 7))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [*before, 7]


def test_an_evaluation_ends_between_batches_and_leaves_the_learner_as_it_was():
    asked: list[int] = []

    class Interrupting(GaussianEpisodes):
        def batch(self, first_index: int, batch_size: int) -> Episode:
            asked.append(first_index)
            if first_index == 2:
                send()
            return super().batch(first_index, batch_size)

    learner = gaussian_learner().train()
    with pytest.raises(KeyboardInterrupt):
        evaluate(learner, Interrupting(0), 20, batch_size=2)
    assert asked == [0, 2]
    assert learner.training


def test_the_preparation_of_data_ends_between_parts_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MAMBACL_CACHE", str(tmp_path))
    views, computed = hanzi21_features.jittered_views, []

    def interrupting(*arguments: Any) -> Tensor:
        computed.append(1)
        if len(computed) == 2:
            send()
        return views(*arguments)

    monkeypatch.setattr(hanzi21_features, "jittered_views", interrupting)
    with pytest.raises(KeyboardInterrupt):
        hanzi21_features.load("validation", views=1, progress=False)
    assert len(computed) == 2
    assert list(tmp_path.rglob("*")) == []


# Of functions registered for the end, the first one comes last.
END = """
import atexit, gc, sys
atexit.register(lambda: print("frozen" if gc.get_freeze_count() > 10_000 else "to be searched"))
"""


@pytest.mark.parametrize(
    "work",
    [
        "import mambacl.cli; sys.argv = ['mambacl', 'train', 'nothing']; mambacl.cli.main()",
        "from mambacl.processes.worker import work; work(lambda: sys.exit(1))",
    ],
)
def test_a_process_of_the_command_line_ends_without_a_last_search_for_garbage(work: str):
    """Which took a second of processor time with torch and its compiler loaded: most of the way from Ctrl-C
    to the end (1.3 s of `mambacl train glyphs-mamba`, and 0.3 s without it)."""
    command = [sys.executable, "-c", END + work]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.read() == "frozen\n"
    assert process.returncode == 1
