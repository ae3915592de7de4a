"""Sets of the Hugging Face hub: with a stand-in of the library, and with itself where it is installed."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from mambacl.data import Split
from mambacl.data.sets import data_set
from mambacl.errors import ConfigError, DataError

SPLITS: tuple[Split, ...] = get_args(Split)
NAMES = [f"thing {number}" for number in range(10)]


def picture(label: int, example: int) -> Image.Image:
    return Image.fromarray(np.full((4, 4, 3), (label, example, 9), np.uint8))


class ClassLabel:
    names = NAMES


class _Image:
    pass


_Image.__name__ = "Image"


class Part:
    """A part of a set: rows of pictures and labels, as `datasets.Dataset` gives them."""

    def __init__(self, rows: list[tuple[int | None, int]], fingerprint: str, **more: object) -> None:
        self.rows, self._fingerprint = rows, fingerprint
        self.features = {"img": _Image(), "fine": ClassLabel(), "id": object(), **more}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: str | int) -> Any:
        if isinstance(place, str):
            return [label for label, _ in self.rows]
        label, example = self.rows[place]
        assert label is not None
        return {"img": picture(label, example)}


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> dict[str, Part]:
    """What a stand-in of the library loads."""
    parts = {
        "train": Part([(label, example) for example in range(3) for label in range(10)], "a"),
        "test": Part([(label, 3) for label in range(10)], "b"),
    }

    def load_dataset(path: str, config: str | None, cache_dir: str | None) -> dict[str, Part]:
        assert (path, config, cache_dir) == ("org/name", None, None)
        return parts

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    return parts


def check(name: str, root: Path | None) -> None:
    seen: list[str] = []
    for split in SPLITS:
        labelled = data_set(name).load(split, root)
        seen += labelled.names
        assert labelled.examples_per_class.tolist() == [4] * len(labelled.names)
        for row in range(len(labelled)):
            label, example, _ = labelled.read(row).getpixel((0, 0))
            assert NAMES[label] == labelled.names[row // 4]
            assert example in range(4)
    assert sorted(seen) == NAMES


def test_parts_are_pooled_and_classes_split(loaded: dict[str, Part]):
    check("hf:org/name", None)
    assert not data_set("hf:org/name").needs_root


@pytest.mark.parametrize("none", [None, -1])
def test_rows_without_a_label_are_left_out(loaded: dict[str, Part], none: int | None):
    loaded["test"].rows.insert(2, (none, 0))
    loaded["unlabelled"] = Part([(none, 0), (none, 1)], "c")
    check("hf:org/name", None)


def test_a_column_that_is_not_found_is_to_be_named(loaded: dict[str, Part]):
    for part in loaded.values():
        part.features["coarse"] = ClassLabel()
    told = r"expected one column of type ClassLabel, found fine, coarse among .*\?label=COLUMN"
    with pytest.raises(DataError, match=told):
        data_set("hf:org/name").load("train")
    check("hf:org/name?label=fine", None)
    with pytest.raises(DataError, match="it has no column 'finest', only img, fine, id, coarse"):
        data_set("hf:org/name?label=finest").load("train")


def test_a_name_of_another_form_is_refused():
    for name in ("hf:", "hf:org/name?labels=x", "hf:org/name?label="):
        with pytest.raises(ConfigError, match="must be hf:ORG/NAME, with"):
            data_set(name)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"needs datasets; pip install '\.\[datasets\]' in the checkout"):
        data_set("hf:org/name").load("train")


@pytest.mark.skipif(find_spec("datasets") is None, reason="needs the extra `datasets`")
@pytest.mark.parametrize("form", ["one", "parts", "parquet"])
def test_a_set_that_the_library_wrote(tmp_path_factory: pytest.TempPathFactory, form: str):
    import datasets  # type: ignore[import-not-found]

    features = datasets.Features({"img": datasets.Image(), "fine": datasets.ClassLabel(names=NAMES)})
    rows = {
        "img": [picture(label, example) for label in range(10) for example in range(4)] + [picture(0, 9)],
        "fine": [label for label in range(10) for _ in range(4)] + [None],
    }
    # Of a folder with "test" in its path, as tmp_path has it, the library takes files for test parts.
    folder, cache = tmp_path_factory.mktemp("pictures"), tmp_path_factory.mktemp("cache")
    written = datasets.Dataset.from_dict(rows, features=features)
    if form == "one":
        written.save_to_disk(str(folder))
        check("hf:org/name", folder)
    elif form == "parts":
        parts = {"train": written.select(range(30)), "test": written.select(range(30, 41))}
        datasets.DatasetDict(parts).save_to_disk(str(folder))
        check("hf:org/name", folder)
    else:  # a folder in the place of a name of the hub
        written.to_parquet(str(folder / "train.parquet"))
        check(f"hf:{folder}", cache)
