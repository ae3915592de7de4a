"""Meta-splits: which classes are for meta-training, for choosing, and for the one look at the end."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from mambacl.errors import InvalidValueError

Split = Literal["train", "validation", "test"]

Part = TypeVar("Part", bound=str)


def split_by_hash(
    names: Sequence[int] | Sequence[str], sizes: Mapping[Part, int], salt: str
) -> dict[Part, list[int]]:
    """Splits classes by the hash of their names, or code points.

    Classes are ranked by `sha256(f"{salt}:{name}")` and dealt out in the order of `sizes`. So a
    split depends on no generator, library version or order of the data.

    Args:
        names: One distinct name or number per class.
        sizes: Classes per part, such as a split; they sum to `len(names)`.
        salt: Names the split; another salt gives another one.

    Returns:
        For each part the positions of its classes in `names`, ascending.

    Raises:
        InvalidValueError: If the sizes do not sum to the number of classes, or a name stands twice.

    Examples:
        >>> splits = split_by_hash([0x4E00, 0x4E01, 0x4E03], {"train": 2, "test": 1}, salt="demo")
        >>> {split: len(classes) for split, classes in splits.items()}
        {'train': 2, 'test': 1}
    """
    if sum(sizes.values()) != len(names):
        raise InvalidValueError(
            f"split_by_hash: `sizes` must sum to the number of classes, {len(names)}, got {dict(sizes)}"
        )
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise InvalidValueError(f"split_by_hash: `names` must be distinct, got {twice[0]!r} twice")
    ranked = sorted(
        range(len(names)),
        key=lambda position: hashlib.sha256(f"{salt}:{names[position]}".encode()).digest(),
    )
    splits: dict[Part, list[int]] = {}
    first = 0
    for split, size in sizes.items():
        splits[split] = sorted(ranked[first : first + size])
        first += size
    return splits


@dataclass(frozen=True)
class HeldOut:
    """How many classes of a set are for meta-validation and meta-test; a hash of their names tells which.

    Attributes:
        validation: Classes, or their share of all (below 1), rounded.
        test: The same.

    Examples:
        >>> HeldOut(validation=0.2, test=0.4).split(["ant", "bee", "cow", "dog", "elk"], salt="demo")["test"]
        [1, 3]
    """

    validation: float
    test: float

    def split(self, names: Sequence[str], salt: str) -> dict[Split, list[int]]:
        """The positions of each split's classes in `names`, ascending; what is not held out is "train".

        Raises:
            InvalidValueError: If no class is left for meta-training.
        """
        test, validation = (
            round(size * len(names)) if size < 1 else int(size) for size in (self.test, self.validation)
        )
        sizes: dict[Split, int] = {
            "test": test,
            "validation": validation,
            "train": len(names) - test - validation,
        }
        if sizes["train"] < 1:
            raise InvalidValueError(
                f"HeldOut: `names` must be more than the {test + validation} classes that are held out, "
                f"got {len(names)}"
            )
        return split_by_hash(names, sizes, salt)


TENTHS = HeldOut(validation=0.1, test=0.3)
"""Six tenths of the classes for meta-training, one for meta-validation, three for meta-test: for sets whose
splits the literature does not tell."""
