"""Reading files that come with a package, this one or another, and telling what is missing or damaged."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
from collections.abc import Generator, Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mambacl import reading
from mambacl.errors import DataError


def folder(package: str) -> Path:
    """Where a package of mambacl has its files."""
    return Path(str(files(package) / "files"))


def contents(who: str, file: Path, sha256: str) -> bytes:
    """A file, if it is the one we know.

    Args:
        who: Reads it, for messages.
        file: One that ends in .gz is decompressed.
        sha256: What its contents must have, in hexadecimal.

    Returns:
        Its contents.

    Raises:
        DataError: If it cannot be read, is damaged, or is another version's.
    """
    with _reading(who, file):
        found = reading.read_bytes(file)
        if file.suffix == ".gz":
            found = gzip.decompress(found)
    _check(who, file, "its sha256", [found], sha256)
    return found


def arrays(who: str, file: Path, names: tuple[str, ...], sha256: str) -> list[npt.NDArray[Any]]:
    """Arrays of an .npz file, if they are those we know.

    Args:
        who: Reads them, for messages.
        file: Without pickled objects.
        names: Of the arrays.
        sha256: What their bytes behind one another must have, in hexadecimal.

    Returns:
        The arrays, in the order of `names`.

    Raises:
        DataError: If they cannot be read, are damaged, or are another version's.
    """
    with _reading(who, file):
        reading.check_regular(file)
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            found = [archive[name] for name in names]
    _check(who, file, f"the sha256 of {', '.join(names)}", (array.tobytes() for array in found), sha256)
    return found


def description(who: str, file: Path, *keys: str) -> dict[str, Any]:
    """What a JSON or TOML file tells of the data beside it.

    Args:
        who: Reads it, for messages.
        file: A table.
        keys: What it must tell.

    Returns:
        The values of the keys.

    Raises:
        DataError: If it cannot be read, or lacks one.
    """
    with _reading(who, file):
        table = reading.read_toml(file) if file.suffix == ".toml" else reading.read_json(file)
        return {key: table[key] for key in keys}


@contextlib.contextmanager
def _reading(who: str, file: Path) -> Generator[None, None, None]:
    """Around the reading of a file: whatever a damaged one makes Python and numpy raise is one error."""
    try:
        yield
    except Exception as error:
        raise DataError(f"{who}: the packaged file {file} cannot be read: {error!r}") from error


def _check(who: str, file: Path, what: str, parts: Iterable[bytes], sha256: str) -> None:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    if (got := digest.hexdigest()) != sha256:
        raise DataError(
            f"{who}: the packaged file {file} is damaged or of another version: {what} must be {sha256}, "
            f"got {got}"
        )
