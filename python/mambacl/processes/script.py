"""A module of the package that is run as a command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

import torch
import tyro

from mambacl.errors import MambaclError

T = TypeVar("T")


def script(kind: type[T], run: Callable[[T], str], module: str) -> None:
    """Reads settings from the command line, runs, and prints; an error of mambacl is one line, and a status
    of 1.

    Args:
        kind: Of the settings, a dataclass.
        run: What to do; returns what to print.
        module: Its name, as `python -m` takes it.
    """
    settings = tyro.cli(kind, prog=f"python -m {module}")
    torch.set_num_threads(1)  # sums in one order: the same numbers every time
    try:
        print(run(settings))
    except (MambaclError, OSError) as error:
        sys.exit(f"mambacl: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
