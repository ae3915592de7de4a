"""glosses: the packaged file, its split by subtree, and the script that derives it."""

from __future__ import annotations

import gzip
import importlib.util
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mambacl.data import Split
from mambacl.data.sets import Labelled, data_set, glosses
from mambacl.data.sets.glosses import gloss_classes, split_groups

SPLITS: tuple[Split, ...] = get_args(Split)
ROOT = Path(__file__).parents[2]
WORDNET = Path("/usr/share/wordnet/data.noun")  # of Debian's wordnet-base


def load(split: Split) -> Labelled[str]:
    return data_set("glosses").load(split)


def test_splits_have_their_sizes_and_share_no_class():
    names = {split: load(split).names for split in SPLITS}
    assert {split: len(names[split]) for split in SPLITS} == {"train": 351, "validation": 59, "test": 177}
    assert len({name for split in SPLITS for name in names[split]}) == 587


def test_the_split_is_pinned():
    """Whoever changes these classes changes every published figure."""
    assert load("validation").names[:3] == ("amphibian genus", "apparatus, setup", "ball")
    assert load("test").names[2:4] == ("activity", "practice, pattern")


def test_no_class_is_above_one_of_another_split():
    of_name = {name: split for split in SPLITS for name in load(split).names}
    classes = gloss_classes()
    pairs = [(one.name, classes[other].name) for one in classes for other in one.above]
    assert len(pairs) > 500
    assert ("electronic device", "device") in pairs
    assert all(of_name[below] == of_name[above] for below, above in pairs)


def test_no_definition_is_in_two_classes():
    texts = [text for one in gloss_classes() for text in one.glosses]
    assert len(texts) == len(set(texts)) == 27_113
    assert not any('"' in text or text != text.strip() or not text for text in texts)  # no example sentences
    assert min(len(one.glosses) for one in gloss_classes()) == 20


def test_examples_are_the_definitions_of_their_classes():
    by_name = {one.name: one.glosses for one in gloss_classes()}
    for split in SPLITS:
        labelled, row = load(split), 0
        for name, count in zip(labelled.names, labelled.examples_per_class.tolist(), strict=True):
            assert tuple(labelled.read(row + example) for example in range(count)) == by_name[name]
            row += count
    assert "an electronic device that represents information in visual form" in by_name["electronic device"]


def test_groups_are_the_connected_components():
    """By a breadth-first search, where the script merges sets."""
    classes = gloss_classes()
    beside: dict[int, set[int]] = defaultdict(set)
    for number, one in enumerate(classes):
        for other in one.above:
            beside[number].add(other)
            beside[other].add(number)
    seen: set[int] = set()
    groups = 0
    for first in range(len(classes)):
        if first in seen:
            continue
        groups += 1
        reached, edge = {first}, {first}
        while edge:
            edge = {other for number in edge for other in beside[number]} - reached
            reached |= edge
        seen |= reached
        assert {classes[number].group for number in reached} == {classes[first].name}
    assert groups == len({one.group for one in classes}) == 155


@given(st.lists(st.sampled_from([f"group {number}" for number in range(30)]), min_size=1, max_size=200))
def test_groups_go_whole_and_no_split_is_far_from_its_share(groups: list[str]):
    splits = split_groups(groups)
    assert len({*zip(groups, splits, strict=True)}) == len(set(groups))
    largest, sizes = max(Counter(groups).values()), Counter(splits)
    for split, share in (("test", 0.3), ("validation", 0.1), ("train", 0.6)):
        assert abs(sizes[split] - share * len(groups)) <= largest
    order = sorted(range(len(groups)), key=lambda number: (groups[number], number))
    assert split_groups([groups[number] for number in order]) == [splits[number] for number in order]


@pytest.fixture(scope="module")
def make_glosses() -> Iterator[ModuleType]:
    """`scripts/make_glosses.py` as a module."""
    script = ROOT / "scripts" / "make_glosses.py"
    if not script.is_file():
        pytest.skip("the tests run without the sources")
    spec = importlib.util.spec_from_file_location("make_glosses", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_glosses"] = module  # dataclasses look for it there
    spec.loader.exec_module(module)
    yield module
    del sys.modules["make_glosses"]


def line(number: int, words: str, parents: Sequence[int], gloss: str, symbol: str = "@") -> str:
    """A line of `data.noun`, with a pointer in it that is none to a hypernym."""
    names = words.split()
    pointers = [f"{symbol} {parent:08} n 0000" for parent in parents] + ["+ 00000001 v 0101"]
    told = " ".join(f"{name} 0" for name in names)
    return f"{number:08} 03 n {len(names):02x} {told} {len(pointers):03} {' '.join(pointers)} | {gloss}  \n"


def test_lines_are_read_as_wordnet_writes_them(make_glosses: ModuleType):
    text = [
        "  1 This software and database is being provided to you, the LICENSEE  \n",
        line(1740, "entity", [], "that which is; it exists"),
        line(1930, "red_fox Vulpes_fulva", [1740], 'a fox; also bred; "the red fox ran"; "a red fox"'),
        line(2000, "Rome", [1930, 1740], 'a place: "in Rome"', symbol="@i"),
    ]
    synsets = make_glosses.read_synsets(text)
    assert list(synsets) == ["00001740", "00001930", "00002000"]
    assert synsets["00001930"].words == ("red fox", "Vulpes fulva")
    assert [one.parents for one in synsets.values()] == [(), ("00001740",), ("00001930", "00001740")]
    assert [one.definition for one in synsets.values()] == [
        "that which is; it exists",
        "a fox; also bred",
        "a place",
    ]


def test_classes_are_derived_by_the_rules(make_glosses: ModuleType):
    """At least 3 examples, at most 2 classes below."""
    lines = [
        line(1, "all", [], "all"),
        *(line(number, f"kind{number}", [1], f"kind {number}") for number in (2, 3, 4, 5)),
        # Of kind 2 two more hyponyms are kind 3's too; of kind 4 two have one definition.
        *(line(20 + n, f"b{n}", [2], f"text 2{n}") for n in range(3)),
        line(25, "both", [2, 3], "of both"),
        *(line(30 + n, f"c{n}", [3], f"text 3{n}") for n in range(3)),
        *(line(40 + n, f"d{n}", [4], "the same" if n > 1 else f"text 4{n}") for n in range(4)),
        # Kind 5 has kind 50 below itself, by a step between.
        *(line(60 + n, f"e{n}", [5], f"text 5{n}") for n in range(3)),
        line(70, "inner", [60], "inner"),
        *(line(80 + n, f"f{n}", [70], f"text 7{n}") for n in range(3)),
    ]
    classes = make_glosses.derive(make_glosses.read_synsets(lines), least=3, most_below=3)
    assert [(one.name, one.above, one.group) for one in classes] == [
        ("kind2", [], "kind2"),
        ("kind3", [], "kind3"),
        ("kind5", [], "kind5"),
        ("inner", [2], "kind5"),
    ]  # not kind 4, which has 2 examples left, nor all, which is above 4 classes
    assert classes[0].glosses == ["text 20", "text 21", "text 22"]
    whole = make_glosses.derive(make_glosses.read_synsets(lines), least=3, most_below=4)
    assert [one.name for one in whole] == ["all", "kind2", "kind3", "kind5", "inner"]
    assert {one.group for one in whole} == {"all"}
    assert whole[4].above == [0, 3]


def test_the_packaged_file_is_what_the_script_makes(make_glosses: ModuleType):
    if not WORDNET.is_file():
        pytest.skip(f"needs {WORDNET}, of Debian's wordnet-base")
    with WORDNET.open(encoding="utf-8") as lines:
        made = make_glosses.derive(make_glosses.read_synsets(lines))
    packaged = json.loads(gzip.decompress((glosses._FOLDER / "glosses.json.gz").read_bytes()))
    assert [vars(one) for one in made] == packaged
