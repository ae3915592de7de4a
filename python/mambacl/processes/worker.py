"""What a process of a pool does."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

from mambacl.errors import MambaclError
from mambacl.processes.ending import end_quickly


def work(task: Callable[[], object]) -> None:
    """Does the task of a process that a pool started, and ends with the pool; an error of mambacl is the last
    line told, and a status of 1.

    Args:
        task: What to do.
    """
    end_quickly()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        task()
    except (MambaclError, OSError) as error:
        sys.exit(f"{error}")
    except KeyboardInterrupt as interrupt:
        print(f"stopped; {interrupt}" if interrupt.args else "stopped", file=sys.stderr)
        sys.exit(130)


def _end_with_parent() -> None:
    """Stops this process, as SIGTERM does, when the one that started it is no more: its end of the pipe is
    closed then, however it went."""
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)
