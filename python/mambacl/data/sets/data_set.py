"""What is known of a data set before its files are looked at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mambacl.data.sets.labelled import Labelled
from mambacl.data.splits import Split
from mambacl.errors import DataError


@dataclass(frozen=True)
class DataSet(ABC):
    """A data set: where it comes from, how it lies on disk, how its classes are split. Each derives from it.

    Attributes:
        name: As in settings and commands.
        kind: What an example is.
        summary: A line: what it shows, how many classes, whose splits.
        source: Where to get it and how to lay it out under the root; empty if it comes with the package.
    """

    name: str
    kind: Literal["images", "texts"]
    summary: str
    source: str = ""

    @property
    def packaged(self) -> bool:
        """Whether it comes with the package, so that no root folder is needed."""
        return not self.source

    def load(self, split: Split, root: Path | None = None) -> Labelled[Any]:
        """The examples of a split: `PIL.Image.Image` of mode "L" or "RGB", or `str`.

        Args:
            split: "train", "validation" or "test".
            root: The folder that `source` says how to fill; None if the set is packaged.

        Returns:
            The examples, sorted by class; nothing is decoded yet.

        Raises:
            DataError: If files are missing, misnamed or damaged; says which, and where the set is to be had.
        """
        if not self.packaged and root is None:
            raise self.missing("a root folder is needed, got none")
        return self._load(split, root)

    def missing(self, what: str) -> DataError:
        """The error for files that are not there, with what to do."""
        return DataError(f"{self.name}: {what}. {self.source}")

    @abstractmethod
    def _load(self, split: Split, root: Path | None) -> Labelled[Any]: ...
