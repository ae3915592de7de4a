"""glosses: 587 kinds of things named by WordNet's nouns, and 27,113 definitions of what is of each kind.

Classes are hypernyms ("electronic device"), examples are definitions of their direct hyponyms ("an electronic
device that answers the telephone and records messages"), 20 to 493 of a class. The file comes with the
package.

`scripts/make_glosses.py` derives it from WordNet 3.0 (Princeton University; see NOTICE) and says how: a
hyponym of two classes is in none, no two definitions are the same, and classes above more than 20 others,
such as "artifact", are left out. Without these the tree falls into 155 groups of classes: within a group
classes are above or below one another, or joined by such. Groups go into the splits whole, so no class is
above or below one of another split.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from mambacl import packaged
from mambacl.data.sets.data_set import DataSet
from mambacl.data.sets.labelled import Labelled
from mambacl.data.splits import TENTHS, Split

_SALT = "mambacl/glosses/1"
_FOLDER = packaged.folder("mambacl.data")
_SHA256 = "b3d4aced60e1ccf5ede716a63c58a0bb6ad6985620920b92b16124e7e80cdbd5"


@dataclass(frozen=True)
class GlossClass:
    """A class as the file has it.

    Attributes:
        name: The words of its synset; with its definition, where two have the same words.
        above: The positions of the classes that it is a kind of, in any number of steps.
        group: Of classes that stay together, by the name of the first.
        glosses: Definitions of its direct hyponyms.
    """

    name: str
    above: tuple[int, ...]
    group: str
    glosses: tuple[str, ...]


class Glosses(DataSet):
    """Definitions by what is defined; see `mambacl.data.sets.glosses`."""

    def __init__(self) -> None:
        super().__init__(
            name="glosses",
            kind="texts",
            summary="587 hypernyms of WordNet, 27,113 definitions of what is of each kind; split by subtree",
        )

    def _load(self, split: Split, root: Path | None) -> Labelled[str]:
        del root  # packaged
        splits = split_groups([one.group for one in gloss_classes()])
        chosen = [one for one, its in zip(gloss_classes(), splits, strict=True) if its == split]
        texts = [text for one in chosen for text in one.glosses]
        return Labelled(
            f"glosses-{split}-{_SHA256[:16]}",
            tuple(one.name for one in chosen),
            torch.tensor([len(one.glosses) for one in chosen]),
            texts.__getitem__,
        )


def split_groups(groups: Sequence[str]) -> list[Split]:
    """The split of each class, by its group.

    Groups are ranked by the hash of their names and dealt out in this order: into "test" as long as the
    groups before have less than 30 % of the classes, then into "validation" to 40 %, the others into "train".

    Args:
        groups: The group of each class.

    Returns:
        The split of each class.

    Examples:
        >>> split_groups(["bird", "bird", "tool", "fish", "bird", "wine"])
        ['validation', 'validation', 'train', 'test', 'validation', 'test']
    """
    test = TENTHS.test * len(groups)
    held_out = test + TENTHS.validation * len(groups)
    of_group: dict[str, Split] = {}
    before = 0
    sizes = Counter(groups)
    for group in sorted(sizes, key=lambda name: hashlib.sha256(f"{_SALT}:{name}".encode()).digest()):
        of_group[group] = "test" if before < test else "validation" if before < held_out else "train"
        before += sizes[group]
    return [of_group[group] for group in groups]


@functools.cache
def gloss_classes() -> tuple[GlossClass, ...]:
    """The classes of all splits, in the order of WordNet's file.

    Raises:
        DataError: If the packaged file is missing or damaged.
    """
    contents = packaged.contents("glosses", _FOLDER / "glosses.json.gz", _SHA256)
    return tuple(
        GlossClass(one["name"], tuple(one["above"]), one["group"], tuple(one["glosses"]))
        for one in json.loads(contents)
    )
