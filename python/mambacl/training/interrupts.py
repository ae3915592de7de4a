"""Ctrl-C that waits for a step to end."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType


class Interrupts:
    """While entered, the first SIGINT or SIGTERM is noted, so that what goes on can end whole; the second
    raises KeyboardInterrupt at once. In threads other than the main one, which get no signals, it does
    nothing."""

    def __init__(self) -> None:
        self.requested = False
        self._waits = True
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for kind in (signal.SIGINT, signal.SIGTERM):
                self._before[kind] = signal.signal(kind, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for signal_kind, handler in self._before.items():
            signal.signal(signal_kind, handler)  # pyright: ignore[reportArgumentType] (it was given by signal)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Within, an interrupt is raised at once: for what changes nothing, such as an evaluation."""
        self._waits = False
        try:
            if self.requested:
                raise KeyboardInterrupt
            yield
        finally:
            self._waits = True

    def _note(self, _signal: int, _frame: FrameType | None) -> None:
        again, self.requested = self.requested, True
        if again or not self._waits:
            raise KeyboardInterrupt
