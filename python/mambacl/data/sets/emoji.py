"""emoji: 1,053 emoji, each in 7 or 8 of eight designs by five vendors, as images of 32 x 32.

Classes are emoji, examples are designs: 7,598 images, drawn from the vector files of eight npm packages (see
NOTICE for their licences). The file comes with the package; nothing is downloaded. A class has 7 or 8
examples, enough for 5 shots and 2 queries.

The designs are domains: meta-train on some and test on others (`faces` and `test_faces` of `[data]` of kind
"features", `domains` and `test_domains` of kind "images") for a shift of domain beside that of classes.
`fluent-emoji-high-contrast` and `emojione-monotone` are black and white, the farthest ones.

Base emoji (`base`) are split by a hash, 60 : 10 : 30, and classes go with their base, so that no variant of a
meta-test emoji is among those for meta-training.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from mambacl import packaged
from mambacl.data.sets.data_set import DataSet
from mambacl.data.sets.labelled import Labelled
from mambacl.data.splits import TENTHS, Split

_FOLDER = packaged.folder("mambacl.data")
_KEYCAP = 0x20E3

_ONE_BASE = (
    # Genders with a code point each: child, adult, older, Santa and Mrs Claus, royals, dancers, restrooms.
    *((0x1F466, 0x1F467), (0x1F468, 0x1F469), (0x1F474, 0x1F475), (0x1F385, 0x1F936), (0x1F478, 0x1F934)),
    *((0x1F483, 0x1F57A), (0x1F6B9, 0x1F6BA)),
    # Clock faces, of which only the hands differ; banknotes and medals, of which only the sign.
    *(tuple(range(0x1F550, 0x1F568)), tuple(range(0x1F4B4, 0x1F4B8)), (0x1F947, 0x1F948, 0x1F949)),
    # States of one thing: mailboxes, loudspeakers, locks.
    *((0x1F4EA, 0x1F4EB, 0x1F4EC, 0x1F4ED), (0x1F507, 0x1F508, 0x1F509, 0x1F50A), (0x1F512, 0x1F513)),
    # Colours and sizes of one shape, that a design without colours draws alike: hearts, circles and full and
    # new moon, diamonds, squares.
    (0x1F499, 0x1F49A, 0x1F49B, 0x1F49C, 0x1F5A4, 0x2665, 0x2764),
    (0x1F311, 0x1F315, 0x1F534, 0x1F535, 0x26AA, 0x26AB),
    (0x1F536, 0x1F537, 0x1F538, 0x1F539, 0x2666),
    (0x1F532, 0x1F533, 0x25AA, 0x25AB, 0x25FB, 0x25FC, 0x25FD, 0x25FE, 0x2B1B, 0x2B1C),
    # Of which some design has one picture for both, or nearly: up!, cricket, discs, buttons, angry faces,
    # crosses, stars of David, asterisks, snowmen, faces with horns, speech bubbles.
    *((0x1F199, 0x1F53C), (0x1F3CF, 0x1F997), (0x1F4BF, 0x1F4C0), (0x1F518, 0x23FA), (0x1F620, 0x1F621)),
    *((0x2716, 0x274C), (0x1F52F, 0x2721), (0x2733, 0x2734), (0x2603, 0x26C4), (0x1F47F, 0x1F608)),
    (0x1F4AC, 0x1F5E8),
)
"""Emoji that are variants of one another though their code points do not say so."""


@dataclass(frozen=True)
class Design:
    """A vendor's design: its short name, whether it has colours, its npm package and licence."""

    name: str
    colour: bool
    package: str
    licence: str


@dataclass(frozen=True, eq=False)
class _Archive:
    """The packaged file: images in the order of `present`'s True entries, row by row."""

    images: npt.NDArray[np.uint8]  # (images, 32, 32, 3)
    present: npt.NDArray[np.bool_]  # (classes, designs)
    codepoints: list[str]
    names: list[str]


class Emoji(DataSet):
    """Emoji in the designs of several vendors; see `mambacl.data.sets.emoji`."""

    def __init__(self) -> None:
        super().__init__(
            name="emoji",
            kind="images",
            summary="1,053 emoji in 7 or 8 of eight designs, 32 x 32 RGB; split by base emoji",
        )

    def _load(self, split: Split, root: Path | None) -> Labelled[Image.Image]:
        del root  # packaged
        archive = _archive()
        of_base: dict[str, list[int]] = {}
        for number, codepoints in enumerate(archive.codepoints):
            of_base.setdefault(f"{base(codepoints):04x}", []).append(number)
        bases = sorted(of_base)
        chosen = [bases[position] for position in self.positions(TENTHS, bases, split)]
        classes = sorted(number for name in chosen for number in of_base[name])
        wanted = np.zeros_like(archive.present)
        wanted[classes] = archive.present[classes]
        images = archive.images[wanted[archive.present]]

        def read(row: int) -> Image.Image:
            return Image.fromarray(images[row])

        return Labelled(
            f"emoji-{split}-{sha256()[:16]}",
            tuple(archive.names[number] for number in classes),
            torch.from_numpy(wanted[classes].sum(1)),
            read,
            torch.from_numpy(np.nonzero(wanted)[1]),
            tuple(design.name for design in designs()),
        )


def base(codepoints: str) -> int:
    """The base of an emoji, by which it is split.

    It is the first code point, without skin tone, gender sign or variation selector behind it; the frame for
    keycaps; and the lowest of those that are one thing in two states, such as man and woman, or look alike in
    some design.

    Args:
        codepoints: Of the emoji, hexadecimal, joined by "-".

    Returns:
        A code point.

    Examples:
        >>> hex(base("1f935-2642")), hex(base("0039-20e3")), hex(base("1f469-1f3fb"))
        ('0x1f935', '0x20e3', '0x1f468')
    """
    points = [int(point, 16) for point in codepoints.split("-")]
    if _KEYCAP in points:
        return _KEYCAP
    for group in _ONE_BASE:
        if points[0] in group:
            return min(group)
    return points[0]


def sha256() -> str:
    """The digest of the data, in hexadecimal: it tells one version from another.

    Raises:
        DataError: If the packaged description is missing or damaged.
    """
    return _description()["sha256"]


@functools.cache
def designs() -> tuple[Design, ...]:
    """The 8 designs, in the order of the domains' numbers.

    Raises:
        DataError: If the packaged description is missing or damaged.

    Examples:
        >>> [design.name for design in designs() if not design.colour]
        ['fluent-emoji-high-contrast', 'emojione-monotone']
    """
    return tuple(Design(**design) for design in _description()["designs"])


@functools.cache
def _archive() -> _Archive:
    arrays = ("images", "present", "codepoints", "names")
    images, present, codepoints, names = packaged.arrays("emoji", _FOLDER / "emoji.npz", arrays, sha256())
    return _Archive(images, present, codepoints.tolist(), names.tolist())


@functools.cache
def _description() -> dict[str, Any]:
    return packaged.description("emoji", _FOLDER / "emoji.json", "sha256", "designs")
