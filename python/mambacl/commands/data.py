"""`mambacl data`."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import tyro

from mambacl.data import Split
from mambacl.data.pixels import CHANNELS, Mode, pixels
from mambacl.data.sets import DataSet, Labelled, data_set, data_sets
from mambacl.errors import InvalidValueError
from mambacl.ranges import Range


@dataclass(frozen=True)
class ListSets:
    """List the data sets by name.

    For example:

      mambacl data list
    """


@dataclass(frozen=True)
class Show:
    """Say where a data set comes from, how it lies on disk, and what its splits hold.

    For example:

      mambacl data show cub-200-2011

      mambacl data show cub-200-2011 --root ~/data

    Attributes:
        name: Of `mambacl data list`, or hf:ORG/NAME.
        root: Folder it lies in; without one, only what is known before looking.
    """

    name: tyro.conf.Positional[str]
    root: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None


@dataclass(frozen=True)
class Prepare:
    """Decode all pictures of a data set once, into the cache folder, and print settings to train on them.

    For example:

      mambacl data prepare omniglot --root ~/data --side 32 --mode L

    Attributes:
        name: Of `mambacl data list`, or hf:ORG/NAME.
        root: Folder it lies in.
        side: Of the square images, pixels.
        mode: L for grey, or RGB.
        quiet: Show no progress bar.
    """

    name: tyro.conf.Positional[str]
    root: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    side: Annotated[int, Range(1, 4_096)] = 32
    mode: Mode = "RGB"
    quiet: bool = False


@dataclass(frozen=True)
class Data:
    """List data sets, look at one, or prepare one to train on.

    Attributes:
        action: What to do.
    """

    action: tyro.conf.OmitSubcommandPrefixes[
        Annotated[ListSets, tyro.conf.subcommand("list")]
        | Annotated[Show, tyro.conf.subcommand("show")]
        | Annotated[Prepare, tyro.conf.subcommand("prepare")]
    ]


def run(command: Data) -> None:
    """Does what is asked for.

    Raises:
        MambaclError: If there is no such set, or its files are missing or damaged.
    """
    match command.action:
        case ListSets():
            _list()
        case Show():
            _show(command.action)
        case Prepare():
            _prepare(command.action)


def _list() -> None:
    sets = data_sets()
    names, kinds = (max(map(len, column)) for column in zip(*((s.name, s.kind) for s in sets), strict=True))
    for known in sets:
        packaged = "packaged" if known.packaged else ""
        print(f"{known.name:<{names}}  {known.kind:<{kinds}}  {packaged:<8}  {known.summary}")
    print("Any set of images of the Hugging Face hub is hf:ORG/NAME.")


def _show(command: Show) -> None:
    known = data_set(command.name)
    print(f"{known.name}: {known.summary}")
    print(textwrap.fill(known.source or "It comes with the package.", 100, break_on_hyphens=False))
    if command.root is None and known.needs_root:
        print("With --root DIR its files are looked at.")
        return
    for split in get_args(Split):
        print(f"{split:<10}  {_facts(_load(known, split, command.root))}")


def _facts(labelled: Labelled[Any]) -> str:
    each = labelled.examples_per_class
    if not len(each):
        return "no class"
    domains = f"; {len(labelled.domain_names)} domains" if labelled.domain_names else ""
    return (
        f"{len(labelled.names):,} classes, {len(labelled):,} examples; of a class at least "
        f"{int(each.min()):,}, median {int(each.median()):,}, at most {int(each.max()):,}{domains}"
    )


def _prepare(command: Prepare) -> None:
    known = data_set(command.name)
    if known.kind != "images":
        raise InvalidValueError(f"data: `name` must be a set of images, got {known.name}, of {known.kind}")
    for split in get_args(Split):
        labelled = _load(known, split, command.root)
        pixels(labelled, command.side, command.mode, ink=known.ink, progress=not command.quiet)
        print(f"{split:<10}  {_facts(labelled)}")
    print("\nFor an experiment's TOML file:\n")
    print(_settings(command))


def _settings(command: Prepare) -> str:
    """The tables that train on it; a text in JSON's quotes is one in TOML's."""
    root = [] if command.root is None else [f"root = {json.dumps(str(command.root.expanduser().resolve()))}"]
    return "\n".join(
        [
            "[data]",
            'kind = "images"',
            f"set = {json.dumps(command.name)}",
            *root,
            f"side = {command.side}",
            f'mode = "{command.mode}"',
            "",
            "[model.encoder]",
            'kind = "cnn"',
            f"in_channels = {CHANNELS[command.mode]}",
            f"image_size = {command.side}",
        ]
    )


def _load(known: DataSet, split: Split, root: Path | None) -> Labelled[Any]:
    return known.load(split, None if root is None else root.expanduser())
