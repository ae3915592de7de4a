"""Every data set, made in small in its true format: what it reads, how it splits, what it misses."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

import mambacl
from mambacl.data import Split
from mambacl.data.sets import data_set, data_sets
from mambacl.data.sets.domainnet import DOMAINS
from mambacl.data.sets.omniglot import OMNIGLOT_SMALL1
from mambacl.errors import ConfigError, DataError, InvalidValueError
from tiny_sets import MAKERS, Tiny, casia_hwdb, cifar_100, domainnet, folder

SPLITS: tuple[Split, ...] = get_args(Split)


@pytest.fixture(params=MAKERS)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Tiny, Path]:
    return MAKERS[request.param](tmp_path / "root"), tmp_path / "root"


def test_splits_have_their_sizes_and_share_no_class(made: tuple[Tiny, Path]):
    tiny, root = made
    names = {split: tiny.data_set.load(split, root).names for split in SPLITS}
    assert {split: len(names[split]) for split in SPLITS} == tiny.sizes
    assert sorted(name for split in SPLITS for name in names[split]) == sorted(tiny.truth)


def test_every_picture_is_read_as_it_was_written(made: tuple[Tiny, Path]):
    tiny, root = made
    for split in SPLITS:
        labelled = tiny.data_set.load(split, root)
        expected = [(name, pixels) for name in labelled.names for pixels in tiny.truth[name]]
        owner = torch.arange(len(labelled.names)).repeat_interleave(labelled.examples_per_class)
        assert [labelled.names[c] for c in owner.tolist()] == [name for name, _ in expected]
        for row, (_, pixels) in enumerate(expected):
            picture = labelled.read(row)
            assert picture.mode == ("L" if pixels.ndim == 2 else "RGB")
            assert np.abs(np.asarray(picture).astype(int) - pixels).max() <= tiny.tolerance


def test_a_key_names_the_files_wherever_they_lie(made: tuple[Tiny, Path], tmp_path: Path):
    tiny, root = made
    keys = [tiny.data_set.load(split, root).key for split in SPLITS]
    assert len(set(keys)) == 3
    shutil.copytree(root, tmp_path / "elsewhere")
    assert [tiny.data_set.load(split, tmp_path / "elsewhere").key for split in SPLITS] == keys


def test_what_is_missing_is_told_with_where_to_get_it(made: tuple[Tiny, Path], tmp_path: Path):
    tiny, _ = made
    (tmp_path / "empty").mkdir()
    for root, told in (
        (None, "a root folder is needed"),
        (tmp_path / "nowhere", "nowhere is not there"),
        (tmp_path / "empty", "expected"),
    ):
        with pytest.raises(DataError, match=told) as error:
            tiny.data_set.load("train", root)
        assert str(error.value).startswith(f"{tiny.data_set.name}: ")
        assert tiny.data_set.source in str(error.value)


def test_an_unknown_split_is_named(made: tuple[Tiny, Path]):
    tiny, root = made
    with pytest.raises(InvalidValueError, match=r"`split` must be one of .*, got 'valid'"):
        tiny.data_set.load("valid", root)  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [maker for name, maker in MAKERS.items() if name != "folder"])
def test_half_of_the_files_are_not_taken_for_the_set(make: Callable[[Path], Tiny], tmp_path: Path):
    """Whatever half it is: every other file, in order of names, is gone."""
    tiny = make(tmp_path)
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    for path in files[::2]:
        path.unlink()

    def load_all() -> None:
        for split in SPLITS:
            tiny.data_set.load(split, tmp_path)

    with pytest.raises(DataError, match="expected"):
        load_all()


def test_the_classes_of_cifar_100_are_split_as_by_cl_as_seq(tmp_path: Path):
    tiny = cifar_100(tmp_path)
    train = np.fromfile(tmp_path / "cifar-100-binary" / "train.bin", np.uint8).reshape(-1, 3074)
    order: list[int] = []
    for label in train[:, 1].tolist():
        if label not in order:
            order.append(label)
    random.seed(0)  # as their code does
    random.shuffle(order)
    assert set(tiny.data_set.load("test", tmp_path).names) == {f"thing_{label}" for label in order[:4]}


def test_the_writers_of_casia_are_domains(tmp_path: Path):
    labelled = casia_hwdb(tmp_path).data_set.load("train", tmp_path)
    assert labelled.domain_names == ("001-f", "002-f", "1001-c")
    assert labelled.domains is not None
    assert labelled.domains.tolist() == [0, 1, 2] * 4


def test_the_styles_of_domainnet_are_domains_that_can_be_chosen(tmp_path: Path):
    labelled = domainnet(tmp_path).data_set.load("test", tmp_path)
    assert labelled.domain_names == DOMAINS
    assert labelled.domains is not None
    assert labelled.domains.tolist() == list(range(6)) * 3
    chosen = labelled.only(["real", "clipart"])
    assert chosen.names == labelled.names
    assert chosen.examples_per_class.tolist() == [2, 2, 2]
    assert [chosen.read(row).getpixel((0, 0)) for row in (2, 3)] == [
        labelled.read(row).getpixel((0, 0)) for row in (6, 10)
    ]
    assert chosen.key not in (labelled.key, labelled.only(["real"]).key)
    with pytest.raises(InvalidValueError, match=r"among those of the examples \(clipart, .*, got 'sketches'"):
        labelled.only(["sketches"])


def test_a_set_without_domains_has_none_to_choose(tmp_path: Path):
    labelled = folder(tmp_path).data_set.load("test", tmp_path)
    with pytest.raises(InvalidValueError, match=r"\(none\), got 'real'"):
        labelled.only(["real"])


def test_names_are_distinct_and_the_nearest_is_offered():
    names = [known.name for known in data_sets()]
    assert len(set(names)) == len(names)
    assert all(data_set(name).name == name for name in names)
    with pytest.raises(ConfigError, match="did you mean 'omniglot'"):
        data_set("omniglott")


def test_the_real_drawings_of_omniglot():
    root = Path(mambacl.__file__).parents[3] / "shared" / "data" / "omniglot"
    if not (root / "images_background_small1.zip").is_file():
        pytest.skip(f"needs the real images_background_small1.zip in {root}")
    sizes = {}
    for split in SPLITS:
        labelled = OMNIGLOT_SMALL1.load(split, root)
        sizes[split] = len(labelled.names)
        alphabets = {name.split("/")[0] for name in labelled.names}
        assert alphabets <= {"Balinese", "Early_Aramaic", "Greek", "Korean", "Latin"}
        for row in range(0, len(labelled), 37):
            drawn = np.asarray(labelled.read(row))
            assert drawn.shape == (105, 105)
            assert set(np.unique(drawn)) == {0, 255}
            assert 0.005 < (drawn == 0).mean() < 0.2  # ink on white
    assert sizes == {"train": 81, "validation": 14, "test": 41}
