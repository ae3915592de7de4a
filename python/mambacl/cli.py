"""The command line: `mambacl --help`."""

from __future__ import annotations

import sys
from typing import Annotated

import matplotlib as mpl
import tyro

from mambacl.commands import (
    bench,
    compare,
    data,
    encode,
    evaluate,
    export,
    info,
    list,
    study,
    sweep,
    train,
)
from mambacl.errors import MambaclError
from mambacl.processes.ending import end_quickly
from mambacl.processes.standard_streams import standard_streams
from mambacl.ranges import check
from mambacl.training.distributed import Ranks

Command = (
    Annotated[train.Train, tyro.conf.subcommand("train")]
    | Annotated[evaluate.Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[compare.Compare, tyro.conf.subcommand("compare")]
    | Annotated[export.Export, tyro.conf.subcommand("export")]
    | Annotated[sweep.Sweep, tyro.conf.subcommand("sweep")]
    | Annotated[study.Study, tyro.conf.subcommand("study")]
    | Annotated[encode.Encode, tyro.conf.subcommand("encode")]
    | Annotated[bench.Bench, tyro.conf.subcommand("bench")]
    | Annotated[data.Data, tyro.conf.subcommand("data")]
    | Annotated[list.List, tyro.conf.subcommand("list")]
    | Annotated[info.Info, tyro.conf.subcommand("info")]
)


def main() -> None:
    """Runs the command line; an error of mambacl is one line, and a status of 1."""
    end_quickly()
    with standard_streams():
        _run(tyro.cli(Command, prog="mambacl", description="Meta-learned continual learning."))


def _run(command: Command) -> None:
    mpl.use("agg")  # figures go to files, and need no display
    try:
        for part in (command, getattr(command, "action", None)):
            if part is not None:
                check(part, type(command).__name__.lower(), option=True)
        match command:
            case train.Train():
                train.run(command)
            case evaluate.Evaluate():
                evaluate.run(command)
            case compare.Compare():
                compare.run(command)
            case export.Export():
                export.run(command)
            case sweep.Sweep():
                sweep.run(command)
            case study.Study():
                study.run(command)
            case encode.Encode():
                encode.run(command)
            case bench.Bench():
                bench.run(command)
            case data.Data():
                data.run(command)
            case list.List():
                list.run()
            case info.Info():
                info.run(command)
    except BrokenPipeError:
        raise  # for `standard_streams`
    except (MambaclError, OSError) as error:
        ranks = Ranks.here()
        sys.exit(f"mambacl: {error}" if ranks.leads else f"mambacl, rank {ranks.rank}: {error}")
    except KeyboardInterrupt as interrupt:
        if Ranks.here().leads:
            print(f"mambacl: stopped; {interrupt}" if interrupt.args else "mambacl: stopped", file=sys.stderr)
        sys.exit(130)
