"""Data sets whose examples are image files, whatever tells which file shows which class."""

from __future__ import annotations

import hashlib
import struct
import zlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO

import torch
from PIL import Image

from mambacl.data.sets.data_set import DataSet
from mambacl.data.sets.labelled import Labelled
from mambacl.data.splits import TENTHS, HeldOut, Split


@dataclass(frozen=True)
class ImageFiles(DataSet):
    """Image files sorted by class. Each set of this sort derives from it: it finds the files.

    A set is known by the paths and sizes of its files, which are read when a picture is asked for.

    Attributes:
        held_out: Classes for meta-validation and meta-test.
        classes: How many there must be; None for any number.
        images: The same.
    """

    held_out: HeldOut = TENTHS
    classes: int | None = None
    images: int | None = None

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains, if its images are of several."""
        return ()

    def domain(self, path: Path, root: Path) -> int:
        """Which of `domains` an image is of."""
        del path, root
        return 0

    @abstractmethod
    def files(self, root: Path) -> Mapping[str, Sequence[Path]]:
        """The files of each class, by its name; a split has both in this order.

        Raises:
            DataError: If files are missing, misnamed or damaged.
        """

    def _load(self, split: Split, root: Path | None) -> Labelled[Image.Image]:
        assert root is not None
        found = self.files(root)
        self.check_count(f"classes in {root}", self.classes, len(found))
        self.check_count(f"images in {root}", self.images, sum(map(len, found.values())))
        every = list(found)
        names = tuple(every[position] for position in self.positions(self.held_out, every, split))
        paths = list(chain.from_iterable(found[name] for name in names))

        def read(row: int) -> Image.Image:
            with paths[row].open("rb") as file:
                return decoded(self, file, str(paths[row]))

        domains = torch.tensor([self.domain(path, root) for path in paths]) if self.domains else None
        return Labelled(
            f"{self.name}-{split}-{self._digest(names, found, root)}",
            names,
            torch.tensor([len(found[name]) for name in names]),
            read,
            domains,
            self.domains,
        )

    def _digest(self, names: Sequence[str], found: Mapping[str, Sequence[Path]], root: Path) -> str:
        """Of the names of classes, and of their files' paths and sizes."""
        digest = hashlib.sha256()
        for name in names:
            digest.update(f"{name}\n".encode())
            for path in found[name]:
                try:
                    size = path.stat().st_size
                except OSError as error:
                    raise self.missing(f"expected the image {path}, found none ({error.strerror})") from None
                if size == 0:
                    raise self.missing(f"the image {path} is empty, as a download that broke off leaves it")
                digest.update(f"{path.relative_to(root).as_posix()} {size}\n".encode())
        return digest.hexdigest()[:16]


def decoded(data_set: DataSet, file: IO[bytes], name: str) -> Image.Image:
    """The picture of an image file, of mode "L" if the file is grey or black and white, "RGB" if not.

    Args:
        data_set: It is of.
        file: To read.
        name: Of the file, for the message.

    Raises:
        DataError: If it is damaged, or no image.
    """
    try:
        with Image.open(file) as image:
            image.load()
            if image.mode in ("1", "L"):
                return image.convert("L")
            if "transparency" in image.info:  # what is seen through is dropped, as for other modes
                return image.convert("RGBA").convert("RGB")
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise data_set.missing(f"the image {name} is damaged: {error}") from error
    except Image.DecompressionBombError as error:
        raise data_set.missing(f"the image {name} is too large: {error}") from error
