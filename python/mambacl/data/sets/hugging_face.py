"""Any image set of the Hugging Face hub, by its name."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl

import numpy as np
import torch
from PIL import Image

from mambacl import pictures
from mambacl.data.cache import key
from mambacl.data.sets.data_set import DataSet
from mambacl.data.sets.labelled import Labelled
from mambacl.data.splits import TENTHS, HeldOut, Split
from mambacl.errors import ConfigError, DataError

PREFIX = "hf:"
_OPTIONS = ("image", "label", "config")


@dataclass(frozen=True)
class _Part:
    """A part of a set, such as "train".

    Attributes:
        name: As the library has it; "" if the set has no parts.
        rows: `datasets.Dataset`.
    """

    name: str
    rows: Any

    def __str__(self) -> str:
        return f"the part {self.name!r}" if self.name else "the set"


@dataclass(frozen=True)
class HuggingFaceSet(DataSet):
    """A set of the hub, or one in a folder that `datasets` saved (`save_to_disk`).

    All its parts are pooled, and its classes split by a hash of their names. The parts of a set may number
    their classes differently, so an image belongs to the class that its own part names. Rows without a label
    are left out, as test parts may have them: None, a negative number in a `ClassLabel`, and -1 in a part
    whose labels are plain integers and all -1.

    Attributes:
        path: Of the hub, ORG/NAME.
        image: The column of images; None for the only one of its type.
        label: The column of labels; None for the only one of its type, `ClassLabel`.
        config: Which of the set's configurations; None for the default.
        held_out: Classes for meta-validation and meta-test.
    """

    path: str = ""
    image: str | None = None
    label: str | None = None
    config: str | None = None
    held_out: HeldOut = TENTHS

    @property
    def needs_root(self) -> bool:
        """No: without a root it is in the cache of `datasets`, or downloaded."""
        return False

    def _load(self, split: Split, root: Path | None) -> Labelled[Image.Image]:
        parts = self._parts(root)
        image = self._column("image", self.image, parts, "Image")
        label = self._column("label", self.label, parts, "ClassLabel")
        labels = [self._labels(part, label) for part in parts]
        kinds = self._kinds(parts, label, labels)
        number = dict(zip(kinds, range(len(kinds)), strict=True))  # rows without a label are of none
        names = [str(kind) for kind in kinds]
        codes = np.array([number.get(each, -1) for its in labels for each in its], dtype=np.int64)
        kept = self.positions(self.held_out, names, split)
        rows = np.concatenate([np.zeros(0, np.int64), *(np.flatnonzero(codes == each) for each in kept)])
        ends = np.cumsum([len(part.rows) for part in parts])
        undecoded = [_undecoded(part.rows, image) for part in parts]

        def read(row: int) -> Image.Image:
            part = int(np.searchsorted(ends, rows[row], side="right"))
            place = int(rows[row]) - (int(ends[part - 1]) if part else 0)
            return self._picture(undecoded[part], place, image, parts[part])

        versions = [str(part.rows._fingerprint) for part in parts]  # what `datasets` itself caches by
        files = [_versions_of_files(part.rows) for part in parts]
        chosen = [names[position] for position in kept]
        version = key({"files": files, "classes": chosen, "pictures": pictures.VERSION})
        return Labelled(
            f"{self.name}-{split}-{image}-{label}-{'-'.join(versions)}-{version}",
            tuple(chosen),
            torch.tensor([int((codes == position).sum()) for position in kept], dtype=torch.int64),
            read,
        )

    def _labels(self, part: _Part, column: str) -> list[str | int | float | None]:
        """The label of each row, by its name where the part names its labels; None for a row without one."""
        where = f"column {column!r} of {part}"
        named: list[str] | None = getattr(part.rows.features[column], "names", None)
        # The whole column at once: the library reads it row by row otherwise.
        values: list[Any] = list(part.rows[column][:])
        for row, value in enumerate(values):
            if value is None:
                continue
            if not isinstance(value, (str, int, float)) or value != value:
                raise self.missing(f"expected one label in each row, in {where}, got {value!r} in row {row}")
            if named is not None and not (isinstance(value, int) and value < len(named)):
                raise self.missing(
                    f"expected labels below {len(named)}, the number of names, in {where}, got {value!r} in "
                    f"row {row}"
                )
        if named is not None:
            return [None if value is None or value < 0 else named[value] for value in values]
        if -1 in values:
            if any(value not in (-1, None) for value in values):
                raise self.missing(
                    f"expected labels, or -1 for none in every row, in {where}, got both; a ClassLabel tells "
                    "which numbers are classes"
                )
            return [None] * len(values)
        return values

    def _kinds(self, parts: list[_Part], column: str, labels: list[list[Any]]) -> list[Any]:
        """The labels that have examples: in the order of the parts' names, or sorted where they have none."""
        of_parts = [getattr(part.rows.features[column], "names", None) for part in parts]
        there = {label for its in labels for label in its if label is not None}
        kinds = {type(label) for label in there}
        if len(kinds) > 1 or len({names is None for names in of_parts}) > 1:
            raise self.missing(
                f"expected labels of one type in the column {column!r} of all parts, got "
                + ", ".join(type(part.rows.features[column]).__name__ for part in parts)
                + f" with {_listed(sorted(kind.__name__ for kind in kinds))}"
            )
        if of_parts[0] is None:
            return sorted(there)
        return [
            name
            for name in dict.fromkeys(name for names in of_parts for name in names or ())
            if name in there
        ]

    def _picture(self, rows: Any, number: int, column: str, part: _Part) -> Image.Image:
        """The picture of a row: the library gives a file's bytes, or the place of a file, or a picture."""
        name = f"in row {number} of {part}, column {column!r},"
        try:
            found: Any = rows[number][column]
        except MemoryError:
            raise
        except Exception as error:  # whatever the library raises at a damaged file
            raise self.missing(f"the image {name} is damaged: {error}") from error
        try:
            if isinstance(found, Image.Image):
                return pictures.taken(found, name)
            if isinstance(found, Mapping):
                return _decoded(cast("Mapping[str, Any]", found), name)
        except DataError as error:
            raise self.missing(str(error)) from error
        kind = "none" if found is None else type(found).__name__
        raise self.missing(f"expected an image {name} found {kind}")

    def _parts(self, root: Path | None) -> list[_Part]:
        """The parts of the set, in order of their names."""
        try:
            datasets: Any = import_module("datasets")
        except ImportError:
            raise DataError(
                f"{self.name}: needs datasets; pip install '.[datasets]' in the checkout"
            ) from None
        try:
            if root is not None and any(
                (root / file).is_file() for file in ("dataset_dict.json", "state.json")
            ):
                loaded = datasets.load_from_disk(str(root))
            else:
                cache = None if root is None else str(root)
                loaded = datasets.load_dataset(self.path, self.config, cache_dir=cache)
        except Exception as error:  # of the network, the hub, the files
            raise self.missing(f"it cannot be loaded: {type(error).__name__}: {error}") from error
        if not isinstance(loaded, Mapping):
            return [_Part("", loaded)]
        if not loaded:
            raise self.missing("expected a part, such as 'train', found none")
        return [_Part(str(name), loaded[name]) for name in sorted(cast("Mapping[Any, Any]", loaded))]

    def _column(self, role: str, given: str | None, parts: list[_Part], kind: str) -> str:
        """The column that is given, or the only one of a type; all parts must have it."""
        column = self._only(role, parts[0], kind) if given is None else given
        if without := [part for part in parts if column not in part.rows.features]:
            who = "it" if len(without) == len(parts) else str(without[0])
            raise self.missing(f"{who} has no column {column!r}, only {_listed(without[0].rows.features)}")
        return column

    def _only(self, role: str, part: _Part, kind: str) -> str:
        features = part.rows.features
        found = [name for name, feature in features.items() if type(feature).__name__ == kind]
        if len(found) != 1:
            raise self.missing(
                f"expected one column of type {kind}, found {_listed(found)} among {_listed(features)} "
                f"in {part}; name it, as in {PREFIX}{self.path}?{role}=COLUMN"
            )
        return found[0]


def hugging_face(name: str) -> HuggingFaceSet:
    """The set of a name.

    Args:
        name: hf:ORG/NAME, and behind a question mark, if they are not found by themselves, the columns of
            images and labels and the configuration.

    Raises:
        ConfigError: If the name is of another form.

    Examples:
        >>> hugging_face("hf:uoft-cs/cifar100?label=fine_label").label
        'fine_label'
    """
    path, _, options = name.removeprefix(PREFIX).partition("?")
    given = dict(parse_qsl(options, keep_blank_values=True))
    if not name.startswith(PREFIX) or not path or given.keys() - set(_OPTIONS) or not all(given.values()):
        raise ConfigError(
            f"data: a set of the Hugging Face hub must be {PREFIX}ORG/NAME, with ?image=COLUMN&label=COLUMN&"
            f"config=NAME where needed, got {name!r}"
        )
    return HuggingFaceSet(
        name=name,
        kind="images",
        summary=f"{path} of the Hugging Face hub; all parts pooled, split by hash, 60/10/30 %",
        source=(
            f"It comes from https://huggingface.co/datasets/{path}, by the package `datasets`; ROOT may be "
            "the folder to keep it in, or one that `save_to_disk` filled."
        ),
        path=path,
        image=given.get("image"),
        label=given.get("label"),
        config=given.get("config"),
    )


def _undecoded(rows: Any, column: str) -> Any:
    """Rows with their images as the bytes of files: the library would open any of Pillow's formats."""
    feature = rows.features[column]
    if not getattr(feature, "decode", False):
        return rows
    return rows.select_columns([column]).cast_column(column, type(feature)(decode=False))


def _decoded(file: Mapping[str, Any], name: str) -> Image.Image:
    """The picture of a file that the library tells of."""
    contents, path = file.get("bytes"), file.get("path")
    if contents is not None:
        return pictures.read(io.BytesIO(contents), name)
    if path is None or not Path(path).is_file():
        raise DataError(f"expected the image {name} in the file {path}, found none")
    try:
        with Path(path).open("rb") as opened:
            return pictures.read(opened, f"{name} {path},")
    except OSError as error:
        raise DataError(f"the image {name} cannot be read: {error}") from error


def _versions_of_files(rows: Any) -> list[list[int]]:
    """Size and time of change of the files that rows are read from."""
    entries = [Path(file["filename"]).stat() for file in getattr(rows, "cache_files", ())]
    return [[entry.st_size, entry.st_mtime_ns] for entry in entries]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
