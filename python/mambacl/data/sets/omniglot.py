"""Omniglot: characters of fifty alphabets, each drawn by twenty people."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL import Image

from mambacl import pictures
from mambacl.data.cache import key
from mambacl.data.sets import file_digest
from mambacl.data.sets.data_set import DataSet
from mambacl.data.sets.image_files import decoded
from mambacl.data.sets.labelled import Labelled
from mambacl.data.splits import TENTHS, HeldOut, Split
from mambacl.errors import DataError

_DRAWINGS = 20
_DRAWING = re.compile(r"([^/.][^/]*/character\d+)/(\d+_\d+\.png)")  # alphabet/character, drawing
_MOST_BYTES = 1 << 20  # of a drawing; the real ones have some hundred


@dataclass(frozen=True)
class Part:
    """A part of Omniglot: a folder of alphabets, or the zip file it comes in.

    Attributes:
        name: Of folder and zip file.
        characters: How many it has.
        md5: Of the zip file, where it is published.
    """

    name: str
    characters: int
    md5: str | None = None


@dataclass(frozen=True)
class _Opened:
    """The drawings of a part: for each character's name the names of its files, and what reads them.

    `digest` is that of the contents of some of the files.
    """

    characters: dict[str, list[str]]
    read: Callable[[str], bytes]
    digest: Callable[[list[str]], str]
    place: Path


@dataclass(frozen=True)
class Omniglot(DataSet):
    """Omniglot (Lake, Salakhutdinov & Tenenbaum, 2015), from its zip files or from what is in them.

    Attributes:
        background: The part of meta-training and meta-validation.
        evaluation: The part of meta-test; None if the background's classes are split in three.
        held_out: Classes of the background part.
    """

    background: Part = Part("images_background", 964, "68d2efa1b9178cc56df9314c21c6e718")
    evaluation: Part | None = Part("images_evaluation", 659, "6b91aef0f799c5bb55b94e3f2daec811")
    held_out: HeldOut = field(kw_only=True)

    def _load(self, split: Split, root: Path | None) -> Labelled[Image.Image]:
        assert root is not None
        if split == "test" and self.evaluation is not None:
            opened = self._opened(self.evaluation, root)
            names = list(opened.characters)
        else:
            opened = self._opened(self.background, root)
            every = list(opened.characters)
            names = [every[position] for position in self.positions(self.held_out, every, split)]
        files = [f"{name}/{file}" for name in names for file in opened.characters[name]]

        def read(row: int) -> Image.Image:
            place = f"{opened.place}/{files[row]}"
            try:
                contents = opened.read(files[row])
            except MemoryError:
                raise
            except Exception as error:  # whatever zipfile raises at damaged, encrypted or unknown entries
                raise self.missing(f"the image {place} is damaged: {error}") from error
            return decoded(self, io.BytesIO(contents), place)

        depends_on = {"contents": opened.digest(files), "pictures": pictures.VERSION}
        return Labelled(
            f"{self.name}-{split}-{key(depends_on)}",
            tuple(names),
            torch.full((len(names),), _DRAWINGS),
            read,
        )

    def _opened(self, part: Part, root: Path) -> _Opened:
        """The part's folder if there is one, or else its zip file."""
        folder, archive = root / part.name, root / f"{part.name}.zip"
        if folder.is_dir():
            opened = self._of_folder(folder)
        elif archive.is_file():
            opened = self._of_archive(part, archive)
        else:
            self.folder(root, part.name)  # tells what is there instead
            raise AssertionError
        for name, drawings in opened.characters.items():
            self.check_count(f"drawings in {opened.place}/{name}", _DRAWINGS, len(drawings))
        self.check_count(f"characters in {opened.place}", part.characters, len(opened.characters))
        return opened

    def _of_folder(self, folder: Path) -> _Opened:
        paths = {path.relative_to(folder).as_posix(): path for path in folder.glob("*/*/*.png")}
        for path in paths.values():
            self.check_file(path, "image")

        def digest(files: list[str]) -> str:
            try:
                return file_digest.of_files(files, [paths[file] for file in files])
            except OSError as error:
                raise self.missing(f"the images in {folder} cannot be read: {error}") from error

        return _Opened(_characters(paths), lambda name: paths[name].read_bytes(), digest, folder)

    def _of_archive(self, part: Part, path: Path) -> _Opened:
        try:
            if part.md5 is not None and (got := _md5(path)) != part.md5:
                raise self.missing(f"the file {path} is damaged: its md5 must be {part.md5}, got {got}")
            archive = zipfile.ZipFile(path)
        except (DataError, MemoryError):
            raise
        except Exception as error:  # of bytes that make no sense zipfile raises whatever it stumbles over
            raise self.missing(f"the file {path} is damaged: {error}") from error
        prefix = f"{part.name}/"
        entries = {
            info.filename.removeprefix(prefix): info
            for info in archive.infolist()
            if info.filename.startswith(prefix)
        }
        for info in entries.values():
            if info.file_size > _MOST_BYTES:
                raise self.missing(
                    f"the file {path} is damaged: a drawing has {_MOST_BYTES:,} bytes at most, and "
                    f"{info.filename} unpacks to {info.file_size:,}"
                )

        def digest(files: list[str]) -> str:
            # zipfile checks the CRC of what it unpacks, so it stands for the contents.
            return key({file: [entries[file].file_size, entries[file].CRC] for file in files})

        return _Opened(_characters(entries), lambda name: archive.read(entries[name]), digest, path)


def _characters(files: Iterable[str]) -> dict[str, list[str]]:
    """The drawings of each character."""
    found: dict[str, list[str]] = {}
    for file in sorted(files):
        if match := _DRAWING.fullmatch(file):
            found.setdefault(match[1], []).append(match[2])
    return found


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.md5(usedforsecurity=False)
        while block := file.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()


_WHERE = "https://github.com/brendenlake/omniglot (folder python)"

OMNIGLOT = Omniglot(
    name="omniglot",
    kind="images",
    summary="Omniglot, 1,623 drawn characters; background 964, 100 of them held out, and evaluation 659",
    source=(
        f"Get images_background.zip and images_evaluation.zip from {_WHERE}; put them into ROOT as they are, "
        "or unpacked: ROOT/images_background/Alphabet_of_the_Magi/character01/*.png and so on."
    ),
    ink=True,
    held_out=HeldOut(validation=100, test=0),
)
"""Background and evaluation part as meta-train and meta-test classes are CL-as-Seq's (arXiv:2310.11952); the
100 characters of the background part that are held out for meta-validation are ours, by hash."""

OMNIGLOT_SMALL1 = Omniglot(
    name="omniglot-small1",
    kind="images",
    summary="five alphabets of Omniglot, its 'small 1' part; characters split by hash, 60/10/30 %",
    source=(
        f"Get images_background_small1.zip from {_WHERE}; put it into ROOT as it is, or unpacked: "
        "ROOT/images_background_small1/Balinese/character01/*.png and so on."
    ),
    ink=True,
    background=Part("images_background_small1", 136),
    evaluation=None,
    held_out=TENTHS,
)
"""For quick looks, and for what needs real drawings; the split is ours."""
