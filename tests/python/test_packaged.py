"""Files that come with the package: whatever is missing or changed is a `DataError` that names the file."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mambacl import packaged
from mambacl.data import hanzi21
from mambacl.data.sets import data_set, emoji, glosses
from mambacl.encoders import glyph_encoder
from mambacl.errors import DataError
from mambacl.streams import pretrained


@dataclass(frozen=True)
class Reader:
    """A module that reads files of the package from its `_FOLDER`."""

    module: ModuleType
    load: Callable[[], object]


HANZI21 = Reader(hanzi21, lambda: hanzi21.load("test"))
EMOJI = Reader(emoji, lambda: data_set("emoji").load("test"))
GLOSSES = Reader(glosses, lambda: data_set("glosses").load("test"))
ENCODER = Reader(glyph_encoder, glyph_encoder.load_glyph_encoder)
LEARNER = Reader(pretrained, lambda: pretrained.load("prototype"))

DATA = [
    (HANZI21, "hanzi21.npz"),
    (EMOJI, "emoji.npz"),
    (GLOSSES, "glosses.json.gz"),
    (ENCODER, "glyph_encoder_all.safetensors"),
    (LEARNER, "prototype.safetensors"),
]
DESCRIPTIONS = [
    (HANZI21, "hanzi21.json"),
    (EMOJI, "emoji.json"),
    (ENCODER, "glyph_encoder_all.json"),
    (LEARNER, "prototype.toml"),
]


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[Reader, str], Path]]:
    """Has a reader read a copy of a file and of those beside it, which a test may damage."""
    modules: list[ModuleType] = []

    def copy(reader: Reader, name: str) -> Path:
        folder = shutil.copytree(reader.module._FOLDER, tmp_path / "files")
        monkeypatch.setattr(reader.module, "_FOLDER", folder)
        forget(reader.module)
        modules.append(reader.module)
        return folder / name

    yield copy
    for module in modules:
        forget(module)


def forget(module: ModuleType) -> None:
    for member in vars(module).values():
        if hasattr(member, "cache_clear"):
            member.cache_clear()


Copied = Callable[[Reader, str], Path]


@pytest.mark.parametrize(("reader", "name"), [*DATA, *DESCRIPTIONS])
def test_a_missing_file_is_told(copied: Copied, reader: Reader, name: str):
    file = copied(reader, name)
    reader.load()
    forget(reader.module)
    file.unlink()
    with pytest.raises(DataError, match=f"the packaged file .*/{name} cannot be read: FileNotFoundError"):
        reader.load()


@pytest.mark.parametrize(("reader", "name"), DATA)
def test_a_cut_or_overwritten_file_is_told(copied: Copied, reader: Reader, name: str):
    file = copied(reader, name)
    whole = file.read_bytes()
    wrong, listed = bytearray(whole), whole.find(b"PK\x01\x02")
    wrong[listed + 8 if listed > 0 else len(whole) // 2] ^= 1  # an archive's first file seems to be encrypted
    for damaged in (whole[:100_000], whole[:-20] + b"x" * 20, b"", b"no archive", bytes(wrong)):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match=f"the packaged file .*/{name} (cannot be read|is damaged)"):
            reader.load()


@pytest.mark.parametrize("contents", ["", "{", "[]", "7", "{}", "sha256 = ", "other = 1", "\udcff"])
@pytest.mark.parametrize(("reader", "name"), DESCRIPTIONS)
def test_a_description_that_lacks_something_is_told(copied: Copied, reader: Reader, name: str, contents: str):
    copied(reader, name).write_text(contents, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(DataError, match=f"the packaged file .*/{name} cannot be read"):
        reader.load()


@pytest.mark.parametrize(
    ("reader", "name", "array"),
    [
        *((HANZI21, "hanzi21.npz", array) for array in ("packed", "present", "codepoints")),
        *((EMOJI, "emoji.npz", array) for array in ("images", "present", "codepoints", "names")),
    ],
)
def test_a_changed_array_is_noticed(copied: Copied, reader: Reader, name: str, array: str):
    file = copied(reader, name)
    with np.load(file) as arrays:
        contents = dict(arrays)
    rows = contents[array]
    other = int((rows != rows[0]).reshape(len(rows), -1).any(1).argmax())
    rows[[0, other]] = rows[[other, 0]]
    np.savez(file, **contents)
    told = rf"{name} is damaged or of another version: the sha256 of .*{array}.* must be [0-9a-f]{{64}}, got"
    with pytest.raises(DataError, match=told):
        reader.load()


def test_a_changed_letter_is_noticed(copied: Copied):
    file = copied(GLOSSES, "glosses.json.gz")
    contents = bytearray(gzip.decompress(file.read_bytes()))
    contents[1000] ^= 1
    file.write_bytes(gzip.compress(contents))
    with pytest.raises(DataError, match=r"glosses\.json\.gz is damaged .*: its sha256 must be b3d4aced"):
        GLOSSES.load()


def test_a_changed_weight_is_noticed(copied: Copied):
    file = copied(ENCODER, "glyph_encoder_all.safetensors")
    contents = bytearray(file.read_bytes())
    contents[-5] ^= 1
    file.write_bytes(contents)
    with pytest.raises(DataError, match="is damaged or of another version: its sha256 must be"):
        ENCODER.load()


def test_an_archive_that_lacks_an_array_is_told(tmp_path: Path):
    np.savez(tmp_path / "file.npz", one=np.zeros(3))
    with pytest.raises(DataError, match=r"demo: the packaged file .*/file\.npz cannot be read: .*two"):
        packaged.arrays("demo", tmp_path / "file.npz", ("one", "two"), "0" * 64)
