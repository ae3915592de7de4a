"""What is known of a data set before its files are looked at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from mambacl.data.irregular import irregular
from mambacl.data.sets.labelled import Labelled
from mambacl.data.splits import HeldOut, Split
from mambacl.errors import DataError, InvalidValueError
from mambacl.printable import printable
from mambacl.reading import read_text


@dataclass(frozen=True)
class DataSet(ABC):
    """A data set: where it comes from, how it lies on disk, how its classes are split. Each derives from it.

    Attributes:
        name: As in settings and commands.
        kind: What an example is.
        summary: A line: what it shows, how many classes, whose splits.
        source: Where to get it and how to lay it out under the root; empty if it comes with the package.
        ink: Whether its pictures are dark ink on a light ground: as pixels of a learner they are inverted, so
            that the ground is the lowest value.
    """

    name: str
    kind: Literal["images", "texts"]
    summary: str
    source: str = ""
    ink: bool = False

    @property
    def packaged(self) -> bool:
        """Whether it comes with the package, so that no root folder is needed."""
        return not self.source

    @property
    def needs_root(self) -> bool:
        """Whether it must be told the folder it lies in."""
        return not self.packaged

    def load(self, split: Split, root: Path | None = None) -> Labelled[Any]:
        """The examples of a split: `PIL.Image.Image` of mode "L" or "RGB", or `str`.

        Args:
            split: "train", "validation" or "test".
            root: The folder that `source` says how to fill; None if the set needs none.

        Returns:
            The examples, sorted by class; nothing is decoded yet.

        Raises:
            InvalidValueError: If there is no such split.
            DataError: If files are missing, misnamed or damaged; says which, and where the set is to be had.
        """
        if split not in get_args(Split):
            raise InvalidValueError(f"DataSet.load: `split` must be one of {get_args(Split)}, got {split!r}")
        if self.needs_root:
            if root is None:
                raise self.missing("a root folder is needed, got none")
            if not root.is_dir():
                raise self.missing(f"the root folder {root} is not there")
        return self._load(split, root)

    def missing(self, what: str) -> DataError:
        """The error for files that are not there, with what to do."""
        return DataError(printable(f"{self.name}: {what}. {self.source}".rstrip()))

    def check_count(self, of: str, expected: int | None, got: int) -> None:
        """Checks that all of something are there, which a download that broke off lacks.

        Raises:
            DataError: If they are more or fewer than expected; None expects any number.
        """
        if expected is not None and got != expected:
            raise self.missing(f"expected {expected:,} {of}, found {got:,}")

    def check_file(self, path: Path, what: str = "file") -> None:
        """Checks that a file of the set is there, is a file, and has contents.

        Args:
            path: Where it must be.
            what: It is, for the message.

        Raises:
            DataError: If it is missing, empty, a folder, or a pipe, which would never end.
        """
        try:
            entry = path.stat()
        except (OSError, ValueError) as error:  # ValueError: a name that no file can have
            reason = getattr(error, "strerror", None) or error
            raise self.missing(f"expected the {what} {path}, found none ({reason})") from None
        if (found := irregular(entry.st_mode)) is not None:
            raise self.missing(f"expected the {what} {path}, found {found}")
        if entry.st_size == 0:
            raise self.missing(f"the {what} {path} is empty, as a download that broke off leaves it")

    def text(self, path: Path) -> str:
        """What a text file of the set says.

        Raises:
            DataError: If it is missing, or no text.
        """
        self.check_file(path)
        try:
            return read_text(path)
        except OSError as error:
            raise self.missing(f"the file {path} cannot be read: {error}") from error
        except UnicodeDecodeError as error:
            raise self.missing(f"the file {path} is damaged: {error}") from error

    def positions(self, held_out: HeldOut, names: Sequence[str], split: Split) -> list[int]:
        """Which of its classes a split has, ascending; the salt of the hash is the set's name.

        Raises:
            DataError: If there are too few classes.
        """
        try:
            return held_out.split(names, f"mambacl/{self.name}/1")[split]
        except InvalidValueError:
            raise self.missing(f"expected enough classes for all splits, found {len(names):,}") from None

    def folder(self, root: Path, *names: str) -> Path:
        """The first of these folders that the root has; "" stands for the root itself.

        Raises:
            DataError: If it has none of them; says what it has instead.
        """
        for name in names:
            if (root / name).is_dir():
                return root / name
        try:
            there = sorted(path.name for path in root.iterdir())
        except OSError as error:
            raise self.missing(f"the folder {root} cannot be read: {error}") from error
        shown = ", ".join(there[:5]) + (", ..." if len(there) > 5 else "") if there else "nothing"
        raise self.missing(f"expected the folder {' or '.join(names)} in {root}, found {shown}")

    @abstractmethod
    def _load(self, split: Split, root: Path | None) -> Labelled[Any]: ...
