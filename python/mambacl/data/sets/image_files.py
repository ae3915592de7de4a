"""Data sets whose examples are image files, whatever tells which file shows which class."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO

import torch
from PIL import Image

from mambacl import pictures
from mambacl.data.cache import key
from mambacl.data.sets import file_digest
from mambacl.data.sets.data_set import DataSet
from mambacl.data.sets.labelled import Labelled
from mambacl.data.splits import TENTHS, HeldOut, Split
from mambacl.errors import DataError


@dataclass(frozen=True)
class ImageFiles(DataSet):
    """Image files sorted by class. Each set of this sort derives from it: it finds the files.

    A set is known by the paths and contents of its files (`file_digest`), which are decoded when a picture is
    asked for.

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
            try:
                with paths[row].open("rb") as file:
                    return decoded(self, file, str(paths[row]))
            except OSError as error:
                raise self.missing(f"the image {paths[row]} cannot be read: {error}") from error

        of_images = torch.tensor([self.domain(path, root) for path in paths], dtype=torch.int64)
        return Labelled(
            f"{self.name}-{split}-{self._digest(paths, names, root)}",
            names,
            torch.tensor([len(found[name]) for name in names], dtype=torch.int64),
            read,
            of_images if self.domains else None,
            self.domains,
        )

    def _digest(self, paths: Sequence[Path], names: Sequence[str], root: Path) -> str:
        """Of the names of classes, and of their files' paths and contents."""
        inside = [self._inside(path, root) for path in paths]
        for path in paths:
            self.check_file(path, "image")
        try:
            contents = file_digest.of_files(inside, paths)
        except OSError as error:
            raise self.missing(f"the images in {root} cannot be read: {error}") from error
        depends_on = {"classes": names, "contents": contents, "pictures": pictures.VERSION}
        return key(depends_on)

    def _inside(self, path: Path, root: Path) -> str:
        """The path of a file below the root, which a list of the set may have named otherwise."""
        try:
            inside = Path(os.path.normpath(path)).relative_to(os.path.normpath(root)).as_posix()
        except ValueError:
            raise self.missing(f"expected all images in {root}, but its lists name {path}") from None
        return inside


def decoded(data_set: DataSet, file: IO[bytes], name: str) -> Image.Image:
    """The picture of an image file, of mode "L" if the file is grey or black and white, "RGB" if not; as
    `mambacl.pictures` reads it.

    Args:
        data_set: It is of.
        file: To read.
        name: Of the file, for the message.

    Raises:
        DataError: If it is damaged, too large, or no image of a known format.
    """
    try:
        return pictures.read(file, name)
    except DataError as error:
        raise data_set.missing(str(error)) from error
