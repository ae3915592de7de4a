"""Derive the data set glosses from WordNet's nouns, and compare with the packaged file.

    apt-get download wordnet-base && dpkg-deb -x wordnet-base_*.deb FOLDER
    python scripts/make_glosses.py FOLDER/usr/share/wordnet/data.noun glosses.json.gz

What is made, in this order:

1. A candidate is a synset of nouns with at least 20 direct hyponyms, kinds or instances. Its examples are
   these hyponyms' definitions: the gloss up to its first example sentence.
2. A hyponym of two candidates is taken from both, and so is a definition that stands at two hyponyms.
3. A candidate with fewer than 20 examples left is dropped.
4. The tree is cut: a candidate with more than 20 others below it, in any number of steps by any path, is
   dropped: these are object, person, artifact and the like, which join nearly everything. The rest are the
   classes.
5. Classes of which one is above the other are of one group, and so are those that are joined over others: the
   connected components of "is above". Groups go into the splits whole.

The file is JSON behind gzip: a list of classes in the order of `data.noun`, each with the words of its synset
(`name`; with its definition, where two have the same words), the positions of the classes above it (`above`),
its `group`, named after the group's first class, and its `glosses`.

Outcome: with wordnet-base 1:3.0-37 of Debian 12 the contents are equal to the packaged ones, after a second.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGED = Path(__file__).parents[1] / "python" / "mambacl" / "data" / "files" / "glosses.json.gz"
LEAST = 20  # examples of a class
MOST_BELOW = 20  # classes below a class

_EXAMPLE = re.compile(r'[;:]? "')  # behind a definition, each in quotation marks


@dataclass(frozen=True)
class Synset:
    """A line of `data.noun`: its words, the synsets it is a kind or an instance of, its definition."""

    words: tuple[str, ...]
    parents: tuple[str, ...]
    definition: str


@dataclass(frozen=True)
class GlossClass:
    """A class of the data set, as the file has it."""

    name: str
    above: list[int]
    group: str
    glosses: list[str]


def read_synsets(lines: Iterable[str]) -> dict[str, Synset]:
    """The synsets by their offsets; the format is that of wndb(5WN)."""
    synsets: dict[str, Synset] = {}
    for line in lines:
        if line.startswith("  "):  # the licence
            continue
        data, _, gloss = line.partition(" | ")
        offset, _, _, words, *fields = data.split()
        count = int(words, 16)
        pointers = fields[2 * count + 1 :]
        synsets[offset] = Synset(
            words=tuple(word.replace("_", " ") for word in fields[: 2 * count : 2]),
            parents=tuple(
                target
                for symbol, target in zip(pointers[::4], pointers[1::4], strict=True)
                if symbol in ("@", "@i")
            ),
            definition=_EXAMPLE.split(gloss)[0].strip().rstrip(";"),
        )
    return synsets


def derive(
    synsets: Mapping[str, Synset], least: int = LEAST, most_below: int = MOST_BELOW
) -> list[GlossClass]:
    """The classes; see the file's docstring."""
    hyponyms: dict[str, list[str]] = defaultdict(list)
    for offset, synset in synsets.items():
        for parent in synset.parents:
            hyponyms[parent].append(offset)
    candidates = {offset for offset, below in hyponyms.items() if len(below) >= least}
    single = {
        offset: [one for one in hyponyms[offset] if len(candidates.intersection(synsets[one].parents)) == 1]
        for offset in candidates
    }
    times = Counter(synsets[one].definition for below in single.values() for one in below)
    glosses = {
        offset: [text for one in below if times[text := synsets[one].definition] == 1]
        for offset, below in single.items()
    }
    enough = {offset for offset, texts in glosses.items() if len(texts) >= least}
    over = {offset: ancestors(offset, synsets) & enough for offset in enough}
    below = Counter(ancestor for above in over.values() for ancestor in above)
    kept = [offset for offset in synsets if offset in enough and below[offset] <= most_below]
    position = {offset: number for number, offset in enumerate(kept)}
    above = [sorted(position[one] for one in over[offset] if one in position) for offset in kept]
    names = [name(offset, kept, synsets) for offset in kept]
    return [
        GlossClass(names[number], above[number], names[first], glosses[kept[number]])
        for number, first in enumerate(components(above))
    ]


def name(offset: str, classes: Iterable[str], synsets: Mapping[str, Synset]) -> str:
    """The words of a synset; where another class has the same, with the definition behind them."""
    words = synsets[offset].words
    alone = sum(synsets[other].words == words for other in classes) == 1
    return ", ".join(words) + ("" if alone else f" ({synsets[offset].definition})")


def ancestors(offset: str, synsets: Mapping[str, Synset]) -> set[str]:
    """All that a synset is a kind or an instance of, in any number of steps."""
    found: set[str] = set()
    waiting = list(synsets[offset].parents)
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += synsets[one].parents
    return found


def components(above: list[list[int]]) -> list[int]:
    """For each class the first of its component."""
    first = list(range(len(above)))
    for number, others in enumerate(above):
        for other in others:
            low, high = sorted((first[number], first[other]))
            first = [low if one == high else one for one in first]
    return first


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("nouns", type=Path, help="WordNet's data.noun")
    parser.add_argument("file", type=Path, help="to write, .json.gz")
    arguments = parser.parse_args()
    with arguments.nouns.open(encoding="utf-8") as lines:
        classes = derive(read_synsets(lines))
    contents = json.dumps([vars(one) for one in classes], ensure_ascii=False).encode()
    arguments.file.write_bytes(gzip.compress(contents, mtime=0))
    examples = sum(len(one.glosses) for one in classes)
    groups = len({one.group for one in classes})
    same = PACKAGED.is_file() and gzip.decompress(PACKAGED.read_bytes()) == contents
    print(f"{len(classes)} classes in {groups} groups, {examples} examples;", end=" ")
    print("equal to the packaged file" if same else "NOT equal to the packaged file")


if __name__ == "__main__":
    main()
