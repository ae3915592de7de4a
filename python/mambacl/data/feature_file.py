"""Features that you computed yourself, in a file: classes to draw episodes from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch

from mambacl import durable
from mambacl.data.feature_classes import FeatureClasses
from mambacl.data.feature_formats import Array, FeatureTable, read_table
from mambacl.data.splits import HeldOut, Split
from mambacl.errors import DataError, InvalidValueError
from mambacl.printable import printable

_SALT = "mambacl/feature-file/1"
_SPLITS: tuple[Split, ...] = get_args(Split)


def feature_file(
    features: Path, labels: Path | None = None, *, validation: float = 0.2, test: float = 0.2
) -> dict[Split, FeatureClasses]:
    """The classes of each split of a file of features.

    The file is .npz or .safetensors with

    - `features`, (n, dim) floating point;
    - `labels`, (n,) integers, or strings (in .npz; safetensors has none, but may have the metadata `names`, a
      JSON list of the names of labels 0, 1, ...);
    - perhaps `split`, (n,) "train", "validation" or "test", or 0, 1 or 2 for these: all examples of a class
      are of one;

    or a pair of .npy files. Classes are sorted: integers by size, strings by code points. Without `split` a
    hash of the classes' names deals them out, so another class in the file moves few of the others.

    Args:
        features: The file.
        labels: The labels' .npy if `features` is one; None else.
        validation: Share of the classes for meta-validation, 0 to below 1, if the file has no `split`.
        test: The same for meta-test.

    Returns:
        For each split one view of each example, (n, 1, dim) float16 as they are or float32, in the order of
        the file within a class. A split may be empty.

    Raises:
        DataError: If a file cannot be read, lacks an array, or an array has another shape or type than these
            or holds values that make no sense. Files of pickled objects are not read.
        InvalidValueError: If the shares make no sense.

    Examples:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "animals.npz"
        >>> labels = np.array(["ox", "ox", "ant", "bee", "cat", "doe"])
        >>> np.savez(file, features=np.eye(6, 4, dtype=np.float32), labels=labels)
        >>> {split: classes.names for split, classes in feature_file(file).items()}
        {'train': ('ant', 'bee', 'cat'), 'validation': ('ox',), 'test': ('doe',)}
    """
    if not (0 <= validation < 1 and 0 <= test < 1 and validation + test < 1):
        raise InvalidValueError(
            "feature_file: `validation` and `test` must be at least 0 and sum to less than 1, got "
            f"{validation} and {test}"
        )
    try:
        return _splits(features, read_table(features, labels), validation, test)
    except DataError as error:
        raise DataError(printable(error)) from error


def _splits(
    features: Path, table: FeatureTable, validation: float, test: float
) -> dict[Split, FeatureClasses]:
    _check(features, table)
    keys, of_example = np.unique(table.labels, return_inverse=True)
    names = [str(key) for key in keys] if table.names is None else [table.names[key] for key in keys]
    if wrong := [name for name in names if any("\ud800" <= each <= "\udfff" for each in name)]:
        raise DataError(
            f"feature file {features}: names of classes must be text, got {wrong[0]!r} with half a character"
        )
    if table.split is None:
        split_of_class = _by_hash(features, names, validation, test)
    else:
        split_of_class = _by_file(features, table.split, of_example, names)
    return {
        split: _classes(table.features, of_example, split_of_class == number, names)
        for number, split in enumerate(_SPLITS)
    }


def write_feature_file(file: Path, splits: Mapping[Split, FeatureClasses]) -> None:
    """Writes features as a file that `feature_file` reads, whole or not at all; domains are not kept.

    Args:
        file: Ends in .safetensors; one that was there is replaced.
        splits: Classes of one view and one dim.

    Raises:
        InvalidValueError: If the file ends otherwise, there is nothing to write, or examples have several
            views.
        OSError: If it cannot be written.
    """
    if file.suffix != ".safetensors":
        raise InvalidValueError(f"write_feature_file: `file` must end in .safetensors, got {file}")
    if not splits or any(classes.views != 1 for classes in splits.values()):
        raise InvalidValueError(
            "write_feature_file: `splits` must hold classes, with one view of each example"
        )
    names = [name for classes in splits.values() for name in classes.names]
    counts = torch.cat([classes.examples_per_class for classes in splits.values()])
    split = torch.tensor([_SPLITS.index(split) for split in splits], dtype=torch.uint8)
    contents = safetensors.torch.save(
        {
            "features": torch.cat([classes.features[:, 0].float() for classes in splits.values()]),
            "labels": torch.arange(len(names)).repeat_interleave(counts),
            "split": split.repeat_interleave(torch.tensor([len(c.features) for c in splits.values()])),
        },
        metadata={"names": json.dumps(names)},
    )
    durable.write(file, contents)


def _check(file: Path, table: FeatureTable) -> None:
    """Checks what numpy would take in silence."""
    features, labels, split = table.features, table.labels, table.split
    if features.ndim != 2 or 0 in features.shape:
        raise DataError(
            f"feature file {file}: `features` must have shape (n, dim) and not be empty, got {features.shape}"
        )
    if features.dtype.kind != "f":
        raise DataError(f"feature file {file}: `features` must be floating point, got {features.dtype}")
    if labels.shape != features.shape[:1]:
        raise DataError(
            f"feature file {file}: `labels` must have shape ({len(features)},), as `features`, got "
            f"{labels.shape}"
        )
    if labels.dtype.kind not in "iuU":
        raise DataError(f"feature file {file}: `labels` must be integers or strings, got {labels.dtype}")
    if split is not None and split.shape != labels.shape:
        raise DataError(
            f"feature file {file}: `split` must have shape ({len(features)},), as `labels`, got {split.shape}"
        )
    if table.names is not None and not (labels.min() >= 0 and labels.max() < len(table.names)):
        raise DataError(
            f"feature file {file}: `labels` must be from 0 to {len(table.names) - 1}, as it has "
            f"{len(table.names)} names, got {labels.min()} to {labels.max()}"
        )
    if not np.isfinite(features).all():
        row = int(np.nonzero(~np.isfinite(features).all(1))[0][0])
        raise DataError(f"feature file {file}: `features` must be finite, got NaN or infinity in row {row}")
    if features.dtype.itemsize > 4 and np.abs(features).max() > np.finfo(np.float32).max:
        raise DataError(f"feature file {file}: `features` must be within the range of float32")


def _by_hash(file: Path, names: list[str], validation: float, test: float) -> Array:
    """The number of each class's split."""
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise DataError(
            f"feature file {file}: `names` must be distinct, or it must hold `split`; got {twice[0]!r} twice"
        )
    try:
        dealt = HeldOut(validation, test).split(names, _SALT)
    except InvalidValueError:
        raise DataError(
            f"feature file {file}: no class is left for meta-training, of {len(names)} in all"
        ) from None
    numbers = np.zeros(len(names), dtype=np.int64)
    for number, split in enumerate(_SPLITS):
        numbers[dealt[split]] = number
    return numbers


def _by_file(file: Path, split: Array, of_example: npt.NDArray[np.intp], names: list[str]) -> Array:
    """The number of each class's split."""
    known: Any = list(_SPLITS) if split.dtype.kind == "U" else range(len(_SPLITS))
    numbers = np.full(len(split), -1)
    if split.dtype.kind in "iuU":
        for number, value in enumerate(known):
            numbers[split == value] = number
    if (numbers < 0).any():
        got = split[int(np.argmax(numbers < 0))].item()
        raise DataError(
            f"feature file {file}: `split` must hold {', '.join(_SPLITS)}, or 0, 1, 2 for these, got {got!r}"
        )
    of_class = np.zeros(len(names), dtype=np.int64)
    of_class[of_example] = numbers
    if (torn := of_class[of_example] != numbers).any():
        name = names[int(of_example[int(np.argmax(torn))])]
        raise DataError(
            f"feature file {file}: `split` must be the same for all examples of a class, got two of {name!r}"
        )
    return of_class


def _classes(
    features: Array, of_example: npt.NDArray[np.intp], wanted: Array, names: list[str]
) -> FeatureClasses:
    """The classes that are wanted, those of one behind one another."""
    rows = np.argsort(of_example, kind="stable")
    rows = rows[wanted[of_example[rows]]]
    counts = np.bincount(of_example[rows], minlength=len(names))[wanted]
    kept = features[rows]  # a copy, in memory
    if kept.dtype != np.float16:
        kept = kept.astype(np.float32)
    return FeatureClasses(
        torch.from_numpy(np.ascontiguousarray(kept)).unsqueeze(1),
        torch.from_numpy(counts),
        tuple(name for name, one in zip(names, wanted.tolist(), strict=True) if one),
        torch.zeros(len(rows), dtype=torch.int64),
        ("",),
    )
