"""CIFAR-100 in its binary version, which needs no pickle."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from mambacl.data.sets.data_set import DataSet
from mambacl.data.sets.labelled import Labelled
from mambacl.data.splits import HeldOut, Split, split_by_hash

_SIDE = 32
_RECORD = 2 + 3 * _SIDE * _SIDE  # coarse label, fine label, red, green and blue plane


@dataclass(frozen=True)
class Cifar100(DataSet):
    """CIFAR-100 (Krizhevsky, 2009): 100 classes of 600 photographs, 32 x 32.

    The split is CL-as-Seq's (arXiv:2310.11952): training and test images are pooled, and the classes, in the
    order in which they first appear in the training file, are shuffled by Python's generator with seed 0; the
    first 40 are for meta-test. That the binary version, which is read here, has its images in the order of
    the Python version, which they read, we assume and could not check. Of the other 60 we hold out 10 for
    meta-validation, by a hash of their names.

    Attributes:
        held_out: Classes for meta-validation and meta-test.
        classes: How many there must be.
        train_images: Of each class, in train.bin.
        test_images: Of each class, in test.bin.
    """

    held_out: HeldOut = field(kw_only=True)
    classes: int = 100
    train_images: int = 500
    test_images: int = 100

    def _load(self, split: Split, root: Path | None) -> Labelled[Image.Image]:
        assert root is not None
        folder = self.folder(root, "cifar-100-binary")
        names = self._names(folder / "fine_label_names.txt")
        train = self._records(folder / "train.bin", self.train_images)
        test = self._records(folder / "test.bin", self.test_images)
        kept = self._split(train, names)[split]
        records = np.concatenate([part[part[:, 1] == label] for label in kept for part in (train, test)])

        def read(row: int) -> Image.Image:
            planes = records[row, 2:].reshape(3, _SIDE, _SIDE)
            return Image.fromarray(np.ascontiguousarray(planes.transpose(1, 2, 0)))

        return Labelled(
            f"{self.name}-{split}-{hashlib.sha256(records.data).hexdigest()[:16]}",
            tuple(names[label] for label in kept),
            torch.full((len(kept),), self.train_images + self.test_images),
            read,
        )

    def _split(self, train: npt.NDArray[np.uint8], names: list[str]) -> dict[Split, list[int]]:
        """The labels of each split."""
        order = list(dict.fromkeys(train[:, 1].tolist()))
        random.Random(0).shuffle(order)
        test, rest = int(self.held_out.test), len(order) - int(self.held_out.test)
        validation = int(self.held_out.validation)
        sizes: dict[Split, int] = {"validation": validation, "train": rest - validation}
        others = sorted(order[test:])
        dealt = split_by_hash([names[label] for label in others], sizes, f"mambacl/{self.name}/1")
        return {
            "test": sorted(order[:test]),
            "validation": [others[position] for position in dealt["validation"]],
            "train": [others[position] for position in dealt["train"]],
        }

    def _names(self, path: Path) -> list[str]:
        names = self.text(path).split()
        self.check_count(f"names of classes in {path}", self.classes, len(set(names)))
        return names

    def _records(self, path: Path, images: int) -> npt.NDArray[np.uint8]:
        """The records of a file, (n, 3074), mapped into memory."""
        expected = self.classes * images * _RECORD
        self.check_file(path)
        self.check_count(f"bytes in {path}", expected, path.stat().st_size)
        records = np.memmap(path, np.uint8, mode="r").reshape(-1, _RECORD)
        each = np.bincount(records[:, 1], minlength=self.classes)
        if len(each) > self.classes or (each != images).any():
            raise self.missing(f"the file {path} is damaged: expected {images} images of each class")
        return records


CIFAR_100 = Cifar100(
    name="cifar-100",
    kind="images",
    summary="CIFAR-100, 100 classes, 32 x 32 colour; CL-as-Seq's 60/40, 10 of the 60 for meta-validation",
    source=(
        "Get the binary version, cifar-100-binary.tar.gz (md5 03b5dce01913d631647c71ecec9e9cb8), from "
        "https://www.cs.toronto.edu/~kriz/cifar.html and unpack it: ROOT/cifar-100-binary/train.bin, "
        "test.bin, fine_label_names.txt. The Python version consists of pickles and is not read."
    ),
    held_out=HeldOut(validation=10, test=40),
)
