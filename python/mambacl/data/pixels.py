"""Pictures of any data set as pixels of one size: decoded once, and kept in the cache folder."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from mambacl.data.cache import cached_rows
from mambacl.data.image_classes import ImageClasses
from mambacl.data.jitter import AffineJitter
from mambacl.data.sets.labelled import Labelled
from mambacl.errors import InvalidValueError
from mambacl.pictures import plain

Mode = Literal["L", "RGB"]
"""Grey, or red, green and blue."""

CHANNELS: dict[Mode, int] = {"L": 1, "RGB": 3}

_FORMAT = 1  # to be raised with every change of what is done to a picture
_AT_ONCE = 256


def pixels(
    labelled: Labelled[Image.Image],
    side: int,
    mode: Mode = "RGB",
    *,
    ink: bool = False,
    jitter: AffineJitter | None = None,
    progress: bool = True,
) -> ImageClasses:
    """The pictures of a data set as images that episodes are drawn from.

    The middle square of each is resized, bilinearly and without aliasing. As inputs of a learner the values 0
    to 255 become -1 to 1, `value / 127.5 - 1`. Pictures of ink on a light ground are inverted before, so that
    the ground is -1, as with hanzi21, and what jitter brings in from outside is ground; at photographs it
    brings in black.

    The first time takes as long as decoding does; then they are read from the user's cache folder, or that of
    the environment variable `MAMBACL_CACHE`, mapped into memory and shared by processes.

    Args:
        labelled: Pictures of any mode, which `mambacl.pictures.plain` makes "L" or "RGB".
        side: Of the squares, pixels.
        mode: "L" or "RGB".
        ink: Whether they are dark ink on a light ground (`DataSet.ink`).
        jitter: Of the images in episodes; None for none.
        progress: Whether to show a progress bar while decoding.

    Returns:
        The images, (n, 1 or 3, side, side) uint8.

    Raises:
        InvalidValueError: If the side is below 1, or there is no such mode.
        DataError: If a file is damaged, or the levels of a picture have no range; nothing is kept then.
    """
    if side < 1:
        raise InvalidValueError(f"pixels: `side` must be at least 1, got {side}")
    if mode not in get_args(Mode):
        raise InvalidValueError(f"pixels: `mode` must be one of {get_args(Mode)}, got {mode!r}")
    images = cached_rows(
        _file(labelled.key, side, mode, ink),
        (len(labelled), CHANNELS[mode], side, side),
        torch.uint8,
        lambda: _decoded(labelled, side, mode, ink, progress),
    )
    domains, names = labelled.of_domains()
    return ImageClasses(
        images, labelled.examples_per_class, labelled.names, domains, names, max_level=255, jitter=jitter
    )


def _decoded(
    labelled: Labelled[Image.Image], side: int, mode: Mode, ink: bool, progress: bool
) -> Iterator[Tensor]:
    """The images in order, some at a time; Pillow lets threads decode beside one another."""

    def one(row: int) -> Tensor:
        picture = ImageOps.fit(
            plain(labelled.read(row)).convert(mode), (side, side), Image.Resampling.BILINEAR
        )
        levels = torch.from_numpy(np.array(picture)).view(side, side, CHANNELS[mode])
        return (255 - levels if ink else levels).permute(2, 0, 1)

    # None: shown on a terminal, and never written into a file.
    hidden = None if progress else True
    with (
        ThreadPoolExecutor(os.cpu_count()) as threads,
        tqdm(total=len(labelled), desc=labelled.key, disable=hidden, dynamic_ncols=True) as bar,
    ):
        for start in range(0, len(labelled), _AT_ONCE):
            rows = range(start, min(start + _AT_ONCE, len(labelled)))
            yield torch.stack(list(threads.map(one, rows)))
            bar.update(len(rows))


def _file(key: str, side: int, mode: Mode, ink: bool) -> str:
    """A name that can be read, and a digest for what cannot stand in it."""
    depends_on = f"{_FORMAT}/{key}/{side}/{mode}/{ink}"
    readable = re.sub(r"[^A-Za-z0-9]+", "-", key)[:60].strip("-")
    return (
        f"pixels-{readable}-{side}-{mode}-{hashlib.sha256(depends_on.encode()).hexdigest()[:16]}.safetensors"
    )
