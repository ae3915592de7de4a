"""emoji: the packaged file, its split by base emoji, its designs."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mambacl.data import Split
from mambacl.data.sets import Labelled, data_set, emoji

SPLITS: tuple[Split, ...] = get_args(Split)
TONES = tuple(range(0x1F3FB, 0x1F400))
NOTICE = Path(__file__).parents[2] / "NOTICE"


def load(split: Split) -> Labelled[Image.Image]:
    return data_set("emoji").load(split)


def pictures(labelled: Labelled[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(labelled.read(row)) for row in range(len(labelled))])


def test_splits_have_their_sizes_and_share_no_emoji():
    names = {split: load(split).names for split in SPLITS}
    assert {split: len(names[split]) for split in SPLITS} == {"train": 658, "validation": 96, "test": 299}
    assert len({name for split in SPLITS for name in names[split]}) == 1053


def test_the_split_is_pinned():
    """Whoever changes these emoji changes every published figure."""
    assert load("validation").names[:3] == ("new-button", "sos-button", "japanese-reserved-button")
    assert load("test").names[:3] == ("registered", "mahjong-red-dragon", "joker")


def test_no_base_is_in_two_splits():
    codepoints = dict(zip(emoji._archive().names, emoji._archive().codepoints, strict=True))
    bases = {split: {emoji.base(codepoints[name]) for name in load(split).names} for split in SPLITS}
    for one, other in combinations(SPLITS, 2):
        assert not bases[one] & bases[other]
    of_name = {name: split for split in SPLITS for name in load(split).names}
    for alike in (
        ("man", "woman"),
        ("prince", "princess"),
        ("santa-claus", "mrs-claus"),
        ("keycap-0", "keycap-hashtag"),
        ("one-oclock", "twelve-thirty"),
        ("red-heart", "black-heart"),
        ("eye", "eye-in-speech-bubble"),
    ):
        assert len({of_name[name] for name in alike}) == 1, alike


def test_no_picture_is_in_two_splits():
    seen = {split: {picture.tobytes() for picture in pictures(load(split))} for split in SPLITS}
    for one, other in combinations(SPLITS, 2):
        assert not seen[one] & seen[other]


@given(
    st.sampled_from([0x1F44B, 0x1F468, 0x1F469, 0x1F575, 0x1F9D9]),
    st.lists(st.sampled_from([*TONES, 0x200D, 0x2640, 0x2642, 0xFE0F, 0x1F9B0, 0x1F9B3])),
)
def test_what_follows_the_first_code_point_is_no_other_base(first: int, rest: list[int]):
    variant = "-".join(f"{point:x}" for point in (first, *rest))
    assert emoji.base(variant) == emoji.base(f"{first:x}")


def test_examples_are_the_pictures_of_the_file_in_order():
    archive = emoji._archive()
    first = np.concatenate([[0], archive.present.sum(1).cumsum()])
    for split in SPLITS:
        labelled, row = load(split), 0
        assert labelled.domains is not None
        for name, count in zip(labelled.names, labelled.examples_per_class.tolist(), strict=True):
            number = archive.names.index(name)
            assert count == archive.present[number].sum() in (7, 8)
            for example in range(0, count, 3):
                picture = labelled.read(row + example)
                assert (picture.mode, picture.size) == ("RGB", (32, 32))
                assert np.array_equal(np.asarray(picture), archive.images[first[number] + example])
            designs = labelled.domains[row : row + count].tolist()
            assert designs == np.flatnonzero(archive.present[number]).tolist()
            row += count


def test_a_red_heart_is_red_but_where_there_are_no_colours():
    """Guards the order of pictures, classes and designs at once."""
    (split,) = (split for split in SPLITS if "red-heart" in load(split).names)
    labelled = load(split)
    heart = labelled.names.index("red-heart")
    before, count = (int(labelled.examples_per_class[rows].sum()) for rows in (slice(heart), heart))
    grey = {design.name for design in emoji.designs() if not design.colour}
    assert grey == {"fluent-emoji-high-contrast", "emojione-monotone"}
    assert labelled.domains is not None
    for row in range(before, before + count):
        red, green, blue = np.asarray(labelled.read(row)).astype(int)[14:18, 14:18].mean((0, 1))
        if labelled.domain_names[int(labelled.domains[row])] in grey:
            assert red == green == blue
        else:
            assert red > max(green, blue) + 50


def test_designs_can_be_held_out():
    labelled = load("test")
    black = labelled.only(["fluent-emoji-high-contrast", "emojione-monotone"])
    assert black.names == labelled.names
    assert set(black.examples_per_class.tolist()) == {2}
    found = pictures(black)
    assert np.array_equal(found[..., 0], found[..., 1])
    assert int(labelled.only(["fxemoji"]).examples_per_class.max()) == 1


def test_the_notice_names_every_design_with_its_licence():
    if not NOTICE.is_file():
        pytest.skip("the tests run without the sources")
    lines = NOTICE.read_text(encoding="utf-8").splitlines()
    for design in emoji.designs():
        assert design.package == f"@iconify-json/{design.name}"
        (line,) = (line for line in lines if line.split()[:1] == [design.name])
        assert line.split()[1] == design.licence


def test_keys_tell_splits_and_designs_apart():
    keys = [load(split).key for split in SPLITS]
    assert len({*keys, load("test").only(["noto"]).key}) == 4
