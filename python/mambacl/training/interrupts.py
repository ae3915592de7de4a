"""Ctrl-C that waits for a step to end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import TypeVar

T = TypeVar("T")


class Interrupts:
    """While entered, the first SIGINT or SIGTERM is noted, so that what goes on can end whole; the second
    raises KeyboardInterrupt at once.

    A signal that is ignored stays ignored (as under nohup), and one that foreign code handles stays with
    that code, for Python could not give it back. In threads other than the main one, which get no signals,
    nothing is handled.

    Attributes:
        requested: Whether there was one.
    """

    def __init__(self) -> None:
        self.requested = False
        self._waits = True
        self._before: dict[signal.Signals, Callable[[int, FrameType | None], object] | int] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for kind in (signal.SIGINT, signal.SIGTERM):
                before = signal.getsignal(kind)
                if before is not None and before != signal.SIG_IGN:
                    self._before[kind] = before
                    signal.signal(kind, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for signal_kind, handler in self._before.items():
            signal.signal(signal_kind, handler)

    def at_once(self, work: Callable[[], T]) -> T | None:
        """Does what changes nothing, such as an evaluation: the first interrupt ends it already.

        Returns:
            What the work returns; None if it was interrupted.
        """
        try:
            self._waits = False
            return None if self.requested else work()
        except KeyboardInterrupt:
            self.requested = True
            return None
        finally:
            self._waits = True

    def _note(self, _signal: int, _frame: FrameType | None) -> None:
        again, self.requested = self.requested, True
        if again or not self._waits:
            raise KeyboardInterrupt
