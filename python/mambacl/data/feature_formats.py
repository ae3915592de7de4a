"""Files of features with labels, as numpy or safetensors write them; pickled objects are never read."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mambacl.data.irregular import irregular
from mambacl.errors import DataError
from mambacl.reading import parse_json

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """What a file of features holds, unchecked but for what its arrays are called.

    Attributes:
        features: One row for each example.
        labels: Of each example.
        split: Of each example; None if the file has none.
        names: Of labels 0, 1, ...; None if labels stand for themselves.
    """

    features: Array
    labels: Array
    split: Array | None = None
    names: tuple[str, ...] | None = None


def read_table(features: Path, labels: Path | None) -> FeatureTable:
    """Reads a file, or a pair of them.

    Args:
        features: .npz or .safetensors with `features`, `labels` and perhaps `split`; or .npy.
        labels: The other .npy of a pair; None for the others.

    Raises:
        DataError: If a file cannot be read, has another ending or lacks an array.
    """
    kind = features.suffix.lower()
    if (kind == ".npy") != (labels is not None):
        rest = (
            "be the .npy of the labels, as the features are in a .npy, got none"
            if labels is None
            else f"be left out, as features that are in no .npy have their labels beside them, got {labels}"
        )
        raise DataError(f"feature file {features}: `labels` (`data.labels` of an experiment) must {rest}")
    try:
        for file in (features, labels):
            if file is not None and (found := irregular(file.stat().st_mode)) is not None:
                raise DataError(f"feature file {file}: it must be a file, got {found}")
        if labels is not None:
            return FeatureTable(_npy("features", features), _npy("labels", labels))
        if kind == ".npz":
            return _npz(features)
        if kind == ".safetensors":
            return _safetensors(features)
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(missing(Path(error.filename or features))) from error
    except (
        Exception
    ) as error:  # of bytes that make no sense numpy and zipfile raise whatever they stumble over
        raise DataError(f"feature file {features}: it cannot be read: {error}") from error
    raise DataError(f"feature file {features}: it must end in .npz, .npy or .safetensors")


def missing(file: Path) -> str:
    """The message for a file that is not there."""
    told = f"feature file {file}: there is no such file"
    if file.is_absolute():
        return told
    return f"{told} in {Path.cwd()}; a relative path is taken from where the command runs"


def _npy(name: str, file: Path) -> Array:
    _check_numpy(file, ".npy")
    with _no_objects(name, file):
        array: Any = np.load(file, mmap_mode="r" if name == "features" else None, allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise DataError(f"feature file {file}: it must hold one array, got an archive of several")
    return array


def _npz(file: Path) -> FeatureTable:
    _check_numpy(file, ".npz")
    with file.open("rb") as stream:  # numpy would leave a file open that is no archive
        archive: Any = np.load(stream, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise DataError(f"feature file {file}: it must be an archive of arrays, got one array")
        _check_keys(file, list(archive.files))
        arrays: dict[str, Array] = {}
        for name in ("features", "labels", "split"):
            if name in archive.files:
                with _no_objects(name, file):
                    arrays[name] = archive[name]
        return FeatureTable(arrays["features"], arrays["labels"], arrays.get("split"))


def _check_numpy(file: Path, kind: str) -> None:
    """What begins as neither of numpy's formats it takes for pickled objects."""
    with file.open("rb") as stream:
        if not stream.read(6).startswith((b"PK", b"\x93NUMPY")):
            raise DataError(f"feature file {file}: it is no {kind} file, whatever it is called")


@contextlib.contextmanager
def _no_objects(name: str, file: Path) -> Generator[None, None, None]:
    """Around the reading of an array, which may be of Python objects."""
    try:
        yield
    except ValueError as error:
        if "object" not in str(error).lower():
            raise
        plain = "np.float32" if name == "features" else "str"
        raise DataError(
            f"feature file {file}: `{name}` are Python objects, which are never read, for they are pickled; "
            f"`{name}.astype({plain})` saves as numpy's own"
        ) from error


def _safetensors(file: Path) -> FeatureTable:
    try:
        with safe_open(file, framework="pt") as tensors:
            keys = list(tensors.keys())
            _check_keys(file, keys)
            names = _names(file, tensors.metadata() or {})
            found: dict[str, Tensor] = {
                key: tensors.get_tensor(key) for key in ("features", "labels", "split") if key in keys
            }
    except SafetensorError as error:
        raise DataError(f"feature file {file}: it cannot be read: {error}") from error
    features = found["features"]
    if features.dtype == torch.bfloat16:  # which numpy lacks
        features = features.float()
    split = found["split"].numpy() if "split" in found else None
    return FeatureTable(features.numpy(), found["labels"].numpy(), split, names)


def _check_keys(file: Path, keys: list[str]) -> None:
    for needed in ("features", "labels"):
        if needed not in keys:
            raise DataError(
                f"feature file {file}: it must hold `features` and `labels`, got "
                f"{', '.join(keys) or 'nothing'}"
            )


def _names(file: Path, metadata: Mapping[str, str]) -> tuple[str, ...] | None:
    if "names" not in metadata:
        return None
    names: Any = parse_json(metadata["names"])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"feature file {file}: `names` must be a list of names, got {metadata['names']:.60}")
    return tuple(names)
