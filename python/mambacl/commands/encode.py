"""`mambacl encode`."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_args

import tyro

from mambacl.data import FeatureClasses, Split
from mambacl.data.feature_file import write_feature_file
from mambacl.data.features import features
from mambacl.data.sets import data_set
from mambacl.encoders import frozen_encoder, frozen_encoders
from mambacl.encoders.registry import known_encoder
from mambacl.errors import ConfigError


@dataclass(frozen=True)
class Encode:
    """Compute the features of a data set by a frozen encoder, once; and print the settings that use them.

    They are kept in the cache folder, where experiments find them. With --out they are also written into a
    file, which may go to another machine.

    For example:

      mambacl encode --list

      mambacl encode hanzi21 --encoder efficientnet-lite0

      mambacl encode hanzi21 --encoder glyphs --out hanzi21.safetensors

    Attributes:
        set: Of the data sets.
        encoder: Of --list.
        root: Folder of the data set, if it does not come with the package.
        out: File to write, .safetensors.
        list: List the encoders, and do nothing else.
        quiet: Show no progress bar.
    """

    set: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="SET")]] = ""
    encoder: Annotated[str, tyro.conf.arg(metavar="NAME")] = ""
    root: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    list: bool = False
    quiet: bool = False


def run(command: Encode) -> None:
    """Computes, writes and prints.

    Raises:
        MambaclError: If there is no such set or encoder, one does not fit to the other, or data or weights
            are missing or damaged.
        OSError: If the file cannot be written.
    """
    if command.list:
        _list()
        return
    _check(command)
    encoder = frozen_encoder(command.encoder)
    root = None if command.root is None else command.root.expanduser()
    splits: dict[Split, FeatureClasses] = {}
    for split in get_args(Split):
        started = time.perf_counter()
        labelled = data_set(command.set).load(split, root)
        splits[split] = features(labelled, encoder, progress=not command.quiet)
        seconds = time.perf_counter() - started
        print(
            f"{split}: {len(splits[split]):,} classes, {len(labelled):,} examples, {encoder.dim:,} numbers "
            f"each, in {seconds:.1f} s"
        )
    if command.out is not None:
        command.out.parent.mkdir(parents=True, exist_ok=True)
        write_feature_file(command.out, splits)
        print(f"Written to {command.out}")
    print(f"\nIn an experiment:\n\n{_settings(command, encoder.dim)}")


def _list() -> None:
    for known in frozen_encoders():
        print(f"{known.example or known.name}\n  {known.kind}: {known.summary}")
        print(f"  Licence: {known.licence}")
        install = f"pip install '.[{known.extra}]' in the checkout" if known.extra else "nothing more"
        print(f"  Needs: {install}\n")


def _check(command: Encode) -> None:
    """Told before anything is computed."""
    if not command.set or not command.encoder:
        raise ConfigError("encode: a data set and `--encoder` must be given; see `mambacl encode --list`")
    kind, reads = data_set(command.set).kind, known_encoder(command.encoder).kind
    if kind != reads:
        raise ConfigError(
            f"encode: `--encoder` must read {kind}, as the set {command.set!r} has, got {command.encoder!r}, "
            f"which reads {reads}"
        )
    if command.out is not None and command.out.suffix != ".safetensors":
        raise ConfigError(f"encode: `--out` must end in .safetensors, got {command.out}")


def _settings(command: Encode, dim: int) -> str:
    """TOML; its strings are written as JSON's are."""
    if command.out is not None:
        source = {"kind": "feature-file", "file": str(command.out)}
    else:
        source = {"kind": "features", "set": command.set, "encoder": command.encoder}
        if command.root is not None:
            source["root"] = str(command.root.expanduser().resolve())
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in source.items()]
    return "\n".join(
        ["[data]", *lines, f"dim = {dim}", "", "[model.encoder]", 'kind = "vector"', f"dim = {dim}"]
    )
