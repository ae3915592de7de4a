"""What files are known by: their contents, read again only when their entries on disk change."""

from __future__ import annotations

import io
import os
import shutil
import time
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from mambacl.data.features import features
from mambacl.data.pixels import pixels
from mambacl.data.sets import file_digest
from mambacl.encoders import frozen_encoder
from tiny_sets import MAKERS


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MAMBACL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def same_entry(path: Path, contents: bytes) -> None:
    """Other contents of the same size under the same times."""
    before = path.stat()
    assert before.st_size == len(contents)
    path.write_bytes(contents)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_picture_of_equal_size_is_another(tmp_path: Path):
    """In pixels and in features, even if its times are set back."""
    root, encoder = tmp_path / "root", frozen_encoder("glyphs")
    for name in "abcdefghij":
        (root / name).mkdir(parents=True)
        for shade in range(2):
            Image.new("L", (8, 8), 9).save(root / name / f"{shade}.bmp")
    folder = MAKERS["folder"](tmp_path / "other").data_set
    before = folder.load("train", root)
    first = pixels(before, 8, "L", progress=False).images
    seen = features(before, encoder, progress=False).features
    changed = root / before.names[0] / "1.bmp"
    same_entry(changed, changed.read_bytes()[:-64] + bytes([0, 250] * 32))
    after = folder.load("train", root)
    assert after.key != before.key
    now = pixels(after, 8, "L", progress=False).images
    assert (now != first).flatten(1).any(1).tolist() == [False, True, *[False] * (len(first) - 2)]
    assert not torch.equal(features(after, encoder, progress=False).features[1], seen[1])


@pytest.mark.parametrize("name", MAKERS)
def test_every_set_is_known_by_contents(name: str, tmp_path: Path):
    """Pixels differ, and no size, offset or name does."""
    root = tmp_path / "root"
    tiny = MAKERS[name](root)
    keys = {split: tiny.data_set.load(split, root).key for split in ("train", "validation", "test")}
    if name == "omniglot_zip":  # other drawings, of the same sizes
        with_zip(root)
    else:
        kinds = (".jpg", ".png", ".gnt", ".bin", ".JPEG")
        for path in [path for path in root.rglob("*") if path.suffix in kinds]:
            contents = bytearray(path.read_bytes())
            contents[10 if path.suffix == ".gnt" else -1] ^= 1
            same_entry(path, bytes(contents))
    assert any(tiny.data_set.load(split, root).key != key for split, key in keys.items())


def with_zip(root: Path) -> None:
    """The archive again, with another bit in the pixels of each drawing."""
    path = root / "images_background_small1.zip"
    with zipfile.ZipFile(path) as archive:
        files = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, contents in files.items():
            if name.endswith(".png"):
                drawing = Image.open(io.BytesIO(contents))
                drawing.putpixel((0, 0), 255 - drawing.getpixel((0, 0)))
                file = io.BytesIO()
                drawing.save(file, "png")
                archive.writestr(name, file.getvalue())
            else:
                archive.writestr(name, contents)


def test_names_are_a_part_of_it(tmp_path: Path):
    (tmp_path / "one").write_bytes(b"contents")
    shutil.copy(tmp_path / "one", tmp_path / "two")
    paths = [tmp_path / "one", tmp_path / "two"]
    digests = {
        file_digest.of_files(names, paths) for names in (["a", "b"], ["b", "a"], ["ab", ""], ["a 8", "b"])
    }
    assert len(digests) == 4
    assert file_digest.of_files([os.fsdecode(b"caf\xe9"), "b"], paths) not in digests


def test_settled_files_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path):
    path = tmp_path / "one"
    path.write_bytes(b"first")
    digest = file_digest.of_files(["one"], [path])
    assert not cache.exists()  # it may change again within the same tick
    later = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: later)
    assert file_digest.of_files(["one"], [path]) == digest
    (kept,) = (cache / "contents").iterdir()

    def read(path: Path) -> str:
        raise AssertionError(f"{path} is read again")

    with monkeypatch.context() as patched:
        patched.setattr(file_digest, "_of_contents", read)
        assert file_digest.of_files(["one"], [path]) == digest
    same_entry(path, b"other")
    assert file_digest.of_files(["one"], [path]) != digest
    same_entry(path, b"first")
    kept.write_text("damaged")
    assert file_digest.of_files(["one"], [path]) == digest


def test_a_cache_that_cannot_be_written_costs_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "one").write_bytes(b"first")
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("MAMBACL_CACHE", str(tmp_path / "file"))
    later = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: later)
    assert len(file_digest.of_files(["one"], [tmp_path / "one"])) == 64
    assert "cannot be kept" in caplog.text
