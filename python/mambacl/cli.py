"""The command line: `mambacl --help`."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from typing import Annotated

import torch
import tyro

from mambacl import __version__, _core, compare, demo
from mambacl.errors import MambaclError


@dataclass(frozen=True)
class Info:
    """Print versions, the SIMD level of the CPU kernels, and threads."""


Command = (
    Annotated[demo.Demo, tyro.conf.subcommand("demo")]
    | Annotated[compare.Compare, tyro.conf.subcommand("compare")]
    | Annotated[Info, tyro.conf.subcommand("info")]
)


def main() -> None:
    """Runs the command line; an error of mambacl is one line, and a status of 1."""
    command = tyro.cli(Command, prog="mambacl", description="Meta-learned continual learning.")
    try:
        match command:
            case demo.Demo():
                demo.run(command)
            case compare.Compare():
                print(compare.run(command))
            case Info():
                print(info())
    except (MambaclError, OSError) as error:
        sys.exit(f"mambacl: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def info() -> str:
    """What `mambacl info` prints."""
    return "\n".join(
        [
            f"mambacl  {__version__}",
            f"torch    {torch.__version__}",
            f"python   {platform.python_version()}",
            f"simd     {_core.simd_level()}",
            f"threads  {torch.get_num_threads()}",
        ]
    )
