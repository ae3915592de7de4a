"""hanzi21: the packaged file, its split and its selection of faces."""

import dataclasses
from typing import get_args

import numpy as np
import pytest
import torch

from mambacl.data import Split, hanzi21
from mambacl.data.classes import rows
from mambacl.data.splits import split_by_hash
from mambacl.errors import InvalidValueError

SPLITS: tuple[Split, ...] = get_args(Split)


def test_splits_have_their_sizes_and_share_no_character():
    names = {split: hanzi21.load(split).names for split in SPLITS}
    assert {split: len(names[split]) for split in SPLITS} == {"train": 2500, "validation": 363, "test": 700}
    assert len(set().union(*names.values())) == 3563


def test_split_is_pinned():
    """Whoever changes these characters changes every published figure."""
    assert "".join(hanzi21.load("validation").names[:8]) == "丁万下丕乃乾亟亭"
    assert "".join(hanzi21.load("test").names[:8]) == "七不丙並之乍乖九"


def test_every_image_is_found_by_index_arithmetic():
    classes = hanzi21.load("validation")
    assert classes.images.dtype == torch.uint8
    assert classes.images.shape == (int(classes.examples_per_class.sum()), 1, 32, 32)
    assert set(classes.examples_per_class.tolist()) == {20, 21}
    assert (classes.images.amax((1, 2, 3)) == classes.max_level).all()
    owner = torch.arange(len(classes)).repeat_interleave(classes.examples_per_class)
    example = torch.cat([torch.arange(int(n)) for n in classes.examples_per_class])
    found = rows(classes.examples_per_class, owner, example)
    assert torch.equal(found, torch.arange(len(classes.images)))
    # Within a class the faces stand in one order, none twice: a wrong offset would break the order.
    same_class = owner[1:] == owner[:-1]
    assert ((classes.domains[1:] > classes.domains[:-1]) | ~same_class).all()


def test_the_character_one_is_a_horizontal_stroke():
    """Guards the order of rows and classes at once."""
    (split,) = (split for split in SPLITS if "一" in hanzi21.load(split).names)
    classes = hanzi21.load(split)
    one = classes.select([classes.names.index("一")])
    for image in one.images:
        down, across = image[0].nonzero().unbind(1)
        assert across.max() - across.min() >= 2 * (down.max() - down.min())


def test_pixels_are_the_bit_pairs_of_the_file_in_order():
    archive = hanzi21._archive()
    (one,) = (row for row, point in enumerate(archive.codepoints) if chr(point) == "一")
    first = int(archive.present[:one].sum())
    bits = np.unpackbits(archive.packed[first : first + 20], axis=1).reshape(20, 1, 32, 32, 2)
    (split,) = (split for split in SPLITS if "一" in hanzi21.load(split).names)
    classes = hanzi21.load(split)
    images = classes.select([classes.names.index("一")]).images[:20]
    assert np.array_equal(images.numpy(), 2 * bits[..., 0] + bits[..., 1])


@pytest.mark.parametrize("split", SPLITS)
def test_faces_select_images_and_keep_classes(split: Split):
    everything = hanzi21.load(split)
    selected = hanzi21.load(split, faces=("ming", "sousho"))
    assert selected.names == everything.names
    wanted = [everything.domain_names.index(name) for name in ("sousho", "bizudm", "dejima")]
    kept = torch.isin(everything.domains, torch.tensor(wanted))
    assert torch.equal(selected.images, everything.images[kept])
    assert torch.equal(selected.domains, everything.domains[kept])
    assert int(selected.examples_per_class.sum()) == int(kept.sum())


def test_styles_part_the_faces():
    counts = {style: sum(face.style == style for face in hanzi21.typefaces()) for style in hanzi21.STYLES}
    assert counts == {"brush": 5, "hand": 3, "ming": 2, "gothic": 6, "display": 5}


def test_unknown_arguments_are_named():
    with pytest.raises(InvalidValueError, match=r"`split` must be one of .*'validation'.*got 'valid'"):
        hanzi21.load("valid")  # type: ignore[arg-type]
    with pytest.raises(
        InvalidValueError, match=r"`faces` must hold names .*soseki.* or styles .*got 'comic'"
    ):
        hanzi21.load("test", faces=("comic",))
    with pytest.raises(InvalidValueError, match="at least one face"):
        hanzi21.load("test", faces=())
    with pytest.raises(InvalidValueError, match="collection of names, got 'brush'"):
        hanzi21.load("test", faces="brush")


def test_split_depends_on_the_code_points_and_the_salt_only():
    sizes: dict[Split, int] = {"train": 6, "validation": 2, "test": 4}
    points = list(range(100, 112))
    split = split_by_hash(points, sizes, "a")
    reordered = split_by_hash(points[::-1], sizes, "a")
    for part in SPLITS:
        assert {points[c] for c in split[part]} == {points[::-1][c] for c in reordered[part]}
    assert split != split_by_hash(points, sizes, "b")
    assert sorted(c for part in split.values() for c in part) == list(range(12))


def test_split_refuses_sizes_that_do_not_fit():
    with pytest.raises(InvalidValueError, match="`sizes` must sum to the number of classes, 3"):
        split_by_hash([1, 2, 3], {"train": 2}, "a")
    with pytest.raises(InvalidValueError, match="must be distinct, got 1 twice"):
        split_by_hash([1, 1], {"train": 2}, "a")


def test_classes_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        hanzi21.load("test").names = ()  # type: ignore[misc]
