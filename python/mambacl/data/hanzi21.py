"""hanzi21: 3,563 Chinese characters, each drawn by 20 or 21 typefaces, as grey images of 32 x 32.

Classes are characters, examples are typefaces: 73,141 images in all, rendered from 19 free font
packages (see NOTICE for the faces and their licences). They are rendered typefaces, not
handwriting. The file comes with the package; nothing is downloaded.

The styles of the faces are a domain: meta-train on some with `faces=` and test on others for a shift of
domain beside that of classes.
"""

from __future__ import annotations

import functools
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import torch

from mambacl import packaged
from mambacl.data.image_classes import ImageClasses
from mambacl.data.jitter import AffineJitter
from mambacl.data.splits import Split, split_by_hash
from mambacl.errors import InvalidValueError

SIZES: dict[Split, int] = {"train": 2500, "validation": 363, "test": 700}
"""Classes per split."""

STYLES = ("brush", "hand", "ming", "gothic", "display")
"""Styles of the typefaces; `ming` and `gothic` are the print faces."""

_SALT = "mambacl/hanzi21/1"
_FOLDER = packaged.folder("mambacl.data")
_SIDE = 32
_MAX_LEVEL = 3

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Face:
    """A typeface: its short name, style, Debian package and licence."""

    name: str
    style: str
    package: str
    licence: str


@dataclass(frozen=True, eq=False)
class _Archive:
    """The packaged file: packed images in the order of `present`'s True entries, row by row."""

    packed: Bytes  # (images, 256), four pixels a byte, the first in the high bits
    present: npt.NDArray[np.bool_]  # (classes, faces)
    codepoints: list[int]


def load(
    split: Split, faces: Collection[str] | None = None, jitter: AffineJitter | None = None
) -> ImageClasses:
    """Loads the classes of one split.

    The split is by a hash of the code points: 2,500 characters for meta-training, 363 for every
    choice (meta-validation) and 700 for the one look at the end (meta-test). `faces` changes the
    examples of a class, never the classes of a split or their order.

    Args:
        split: "train", "validation" or "test".
        faces: Keep the images of these typefaces only, given by name ("sousho") or by style
            ("brush", "hand", "ming", "gothic", "display"); None keeps all. To hold faces out, name
            the others.
        jitter: Of the images in episodes; None for none.

    Returns:
        The images with 4 grey levels, (n, 1, 32, 32) uint8, 0 (background) to 3 (ink).

    Raises:
        InvalidValueError: If the split or a face is unknown, or no face is named.
        DataError: If the packaged file is missing or damaged.

    Examples:
        >>> print_faces = load("test", faces=("ming", "gothic"))
        >>> len(print_faces), int(print_faces.examples_per_class.max())
        (700, 8)
    """
    if split not in get_args(Split):
        raise InvalidValueError(f"hanzi21.load: `split` must be one of {get_args(Split)}, got {split!r}")
    archive = _archive()
    kept = _columns(faces)
    classes = split_by_hash(archive.codepoints, SIZES, _SALT)[split]

    wanted = np.zeros_like(archive.present)
    wanted[np.ix_(classes, kept)] = True
    wanted &= archive.present
    images = _unpack(archive.packed[wanted[archive.present]])  # (n, 1, 32, 32)
    return ImageClasses(
        images=torch.from_numpy(images),
        examples_per_class=torch.from_numpy(wanted.sum(1)[classes]),
        names=tuple(chr(archive.codepoints[c]) for c in classes),
        domains=torch.from_numpy(np.nonzero(wanted)[1]),
        domain_names=tuple(face.name for face in typefaces()),
        max_level=_MAX_LEVEL,
        jitter=jitter,
    )


def sha256() -> str:
    """The digest of all images, in hexadecimal: it tells one version of the data from another.

    Raises:
        DataError: If the packaged description is missing or damaged.
    """
    return _description()["sha256_packed"]


@functools.cache
def typefaces() -> tuple[Face, ...]:
    """The 21 typefaces, in the order of the faces' numbers.

    Raises:
        DataError: If the packaged description is missing or damaged.

    Examples:
        >>> [face.name for face in typefaces() if face.style == "hand"]
        ['kiloji', 'seto', 'yoz']
    """
    return tuple(Face(**face) for face in _description()["faces"])


def _columns(faces: Collection[str] | None) -> list[int]:
    if faces is None:
        return list(range(len(typefaces())))
    if isinstance(faces, str):
        raise InvalidValueError(f"hanzi21.load: `faces` must be a collection of names, got {faces!r}")
    names = [face.name for face in typefaces()]
    for wanted in faces:
        if wanted not in names and wanted not in STYLES:
            raise InvalidValueError(
                f"hanzi21.load: `faces` must hold names ({', '.join(names)}) "
                f"or styles ({', '.join(STYLES)}), got {wanted!r}"
            )
    kept = [n for n, face in enumerate(typefaces()) if face.name in faces or face.style in faces]
    if not kept:
        raise InvalidValueError("hanzi21.load: `faces` must name at least one face, got none")
    return kept


@functools.cache
def _archive() -> _Archive:
    file = _FOLDER / "hanzi21.npz"
    (packed,) = packaged.arrays("hanzi21", file, ("packed",), sha256())
    of_classes = _description()["sha256_present_codepoints"]
    present, codepoints = packaged.arrays("hanzi21", file, ("present", "codepoints"), of_classes)
    present = np.unpackbits(present, axis=1)[:, : len(typefaces())].astype(bool)
    return _Archive(packed, present, codepoints.tolist())


def _unpack(packed: Bytes) -> Bytes:
    """(n, 256) bytes of four pixels to (n, 1, 32, 32) levels."""
    pixels = np.stack([packed >> 6, packed >> 4 & 3, packed >> 2 & 3, packed & 3], axis=-1)
    return pixels.astype(np.uint8, copy=False).reshape(-1, 1, _SIDE, _SIDE)


@functools.cache
def _description() -> dict[str, Any]:
    keys = ("faces", "sha256_packed", "sha256_present_codepoints")
    return packaged.description("hanzi21", _FOLDER / "hanzi21.json", *keys)
