"""Any image set of the Hugging Face hub, by its name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import torch
from PIL import Image

from mambacl.data.sets.data_set import DataSet
from mambacl.data.sets.labelled import Labelled
from mambacl.data.splits import TENTHS, HeldOut, Split
from mambacl.errors import ConfigError, DataError

PREFIX = "hf:"
_OPTIONS = ("image", "label", "config")


@dataclass(frozen=True)
class HuggingFaceSet(DataSet):
    """A set of the hub, or one in a folder that `datasets` saved (`save_to_disk`).

    All its parts are pooled, and its classes split by a hash of their names. Rows without a label, as test
    parts may have them, are left out.

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
        features = parts[0].features
        image = self._column("image", self.image, features, "Image")
        label = self._column("label", self.label, features, "ClassLabel")
        # The whole column at once: the library reads it row by row otherwise.
        values = [value for part in parts for value in part[label][:]]
        labelled = np.array([_is_label(features[label], value) for value in values], dtype=bool)
        kinds, of_labelled = np.unique(
            np.array([value for value, kept in zip(values, labelled, strict=True) if kept]),
            return_inverse=True,
        )
        codes = np.full(len(values), -1)
        codes[labelled] = of_labelled
        names = [_name(features[label], kind) for kind in kinds.tolist()]
        kept = self.positions(self.held_out, names, split)
        rows = np.concatenate([np.flatnonzero(codes == position) for position in kept])
        ends = np.cumsum([len(part) for part in parts])

        def read(row: int) -> Image.Image:
            part = int(np.searchsorted(ends, rows[row], side="right"))
            number = int(rows[row]) - (int(ends[part - 1]) if part else 0)
            try:
                picture: Image.Image = parts[part][number][image]
            except Exception as error:  # whatever the library raises at a damaged file
                raise self.missing(f"the image of row {number} is damaged: {error}") from error
            return picture.convert("L" if picture.mode in ("1", "L") else "RGB")

        version = "-".join(str(part._fingerprint) for part in parts)  # what `datasets` itself caches by
        return Labelled(
            f"{self.name}-{split}-{image}-{label}-{version}",
            tuple(names[position] for position in kept),
            torch.tensor([int((codes == position).sum()) for position in kept]),
            read,
        )

    def _parts(self, root: Path | None) -> list[Any]:
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
        return [loaded[name] for name in sorted(loaded)] if isinstance(loaded, Mapping) else [loaded]

    def _column(self, role: str, given: str | None, features: Mapping[str, Any], kind: str) -> str:
        """The column that is given, or the only one of a type."""
        if given is not None:
            if given not in features:
                raise self.missing(f"it has no column {given!r}, only {_listed(features)}")
            return given
        found = [name for name, feature in features.items() if type(feature).__name__ == kind]
        if len(found) != 1:
            raise self.missing(
                f"expected one column of type {kind}, found {_listed(found)} among {_listed(features)}; "
                f"name it, as in {PREFIX}{self.path}?{role}=COLUMN"
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


def _is_label(feature: Any, value: Any) -> bool:
    """Whether a row has a label: the library tells of one that has none by None, or -1 in a `ClassLabel`."""
    return value is not None and not (getattr(feature, "names", None) is not None and value < 0)


def _name(feature: Any, kind: Any) -> str:
    """The name of a class; of labels that are no `ClassLabel`, the label."""
    names = getattr(feature, "names", None)
    return str(kind) if names is None else names[kind]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
