"""A module of the package that is run as a command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

import torch
import tyro

from mambacl.errors import MambaclError
from mambacl.processes.standard_streams import standard_streams
from mambacl.ranges import check

T = TypeVar("T")


def script(kind: type[T], run: Callable[[T], str], module: str) -> None:
    """Reads settings from the command line, runs, and prints; an error of mambacl is one line, and a status
    of 1.

    Args:
        kind: Of the settings, a dataclass.
        run: What to do; returns what to print.
        module: Its name, as `python -m` takes it.
    """
    with standard_streams():
        _run(kind, run, module)


def _run(kind: type[T], run: Callable[[T], str], module: str) -> None:
    try:
        settings = tyro.cli(kind, prog=f"python -m {module}")
        check(settings, module.rpartition(".")[2].replace("_", " "), option=True)
        torch.set_num_threads(1)  # sums in one order: the same numbers every time
        print(run(settings))
    except BrokenPipeError:
        raise  # for `standard_streams`
    except (MambaclError, OSError) as error:
        sys.exit(f"mambacl: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
