"""Pixels of pictures: decoded once, as they are, and kept whole or not at all."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mambacl.data import AffineJitter, hanzi21
from mambacl.data.cache import cached_rows
from mambacl.data.pixels import pixels
from mambacl.data.sets import Labelled, data_set
from mambacl.errors import DataError, InvalidValueError
from tiny_sets import folder


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MAMBACL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def labelled(*pictures: Image.Image, key: str = "demo") -> Labelled[Image.Image]:
    return Labelled(key, ("one",), torch.tensor([len(pictures)]), pictures.__getitem__)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def test_pictures_of_the_size_are_kept_as_they_are():
    grey, colour = noise(600, 8, 8), noise(600, 8, 8, 3)  # more than are decoded at once
    images = pixels(labelled(*map(Image.fromarray, grey), key="a"), 8, "L", progress=False).images
    assert torch.equal(images, torch.from_numpy(grey)[:, None])
    images = pixels(labelled(*map(Image.fromarray, colour), key="b"), 8, progress=False).images
    assert torch.equal(images, torch.from_numpy(colour).permute(0, 3, 1, 2))


def test_inputs_are_from_minus_one_to_one():
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    classes = pixels(labelled(ramp), 16, "L", progress=False)
    zero = torch.tensor([0])
    inputs = classes.inputs(zero, zero, torch.empty(1, 0))
    torch.testing.assert_close(inputs.flatten(), torch.arange(256) / 127.5 - 1)


def test_hanzi21_as_pictures_is_hanzi21():
    """Ink on white is inverted: background -1, ink 1, with jitter and without."""
    ours = pixels(data_set("hanzi21").load("validation"), 32, "L", ink=True, progress=False)
    theirs = hanzi21.load("validation")
    assert torch.equal(ours.images, theirs.images * 85)
    assert torch.equal(ours.domains, theirs.domains)
    assert (ours.names, ours.domain_names) == (theirs.names, theirs.domain_names)


def test_jitter_brings_in_ground():
    white = Image.new("L", (8, 8), 255)
    classes = pixels(labelled(white), 8, "L", ink=True, jitter=AffineJitter(shift=4), progress=False)
    zero = torch.tensor([0])
    assert (classes.inputs(zero, zero, torch.rand(1, AffineJitter.UNIFORMS)) == -1).all()


def test_the_middle_square_is_taken_and_shrunk_without_aliasing():
    wide = np.zeros((64, 192), np.uint8)
    wide[:, 64:128] = np.indices((64, 64)).sum(0) % 2 * 255  # a checkerboard between black margins
    images = pixels(labelled(Image.fromarray(wide)), 8, "L", progress=False).images
    assert images.min() > 100
    assert images.max() < 155


def test_decoded_once_and_read_from_the_cache(cache: Path):
    picture = Image.fromarray(noise(8, 8))
    first = pixels(labelled(picture), 8, "L", progress=False)

    def never(row: int) -> Image.Image:
        raise AssertionError(f"row {row} is decoded again")

    again = Labelled("demo", ("one",), torch.tensor([1]), never)
    assert torch.equal(pixels(again, 8, "L", progress=False).images, first.images)
    assert len(list(cache.iterdir())) == 1
    for changed in (
        lambda: pixels(again, 4, "L", progress=False),
        lambda: pixels(again, 8, "RGB", progress=False),
        lambda: pixels(again, 8, "L", ink=True, progress=False),
        lambda: pixels(Labelled("other", ("one",), torch.tensor([1]), never), 8, "L", progress=False),
    ):
        with pytest.raises(AssertionError, match="decoded again"):
            changed()


def test_a_damaged_picture_leaves_nothing_half_written(cache: Path, tmp_path: Path):
    tiny = folder(tmp_path / "root")
    pictures = tiny.data_set.load("train", tmp_path / "root")
    image = tmp_path / "root" / pictures.names[-1] / "clas_2.png"
    contents = image.read_bytes()
    image.write_bytes(contents[: len(contents) // 2])
    with pytest.raises(DataError, match=r"clas_2\.png is damaged"):
        pixels(pictures, 16, progress=False)
    assert list(cache.iterdir()) == []
    image.write_bytes(contents)
    assert len(pixels(pictures, 16, progress=False).images) == 18


def test_a_folder_that_cannot_be_written_costs_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("MAMBACL_CACHE", str(tmp_path / "file" / "inside"))
    picture = Image.fromarray(noise(8, 8))
    with caplog.at_level(logging.WARNING, logger="mambacl"):
        images = pixels(labelled(picture), 8, "L", progress=False).images
    assert torch.equal(images[0, 0], torch.from_numpy(np.array(picture)))
    assert "cannot be kept" in caplog.text


def test_rows_are_written_in_turn_and_checked(cache: Path, caplog: pytest.LogCaptureFixture):
    whole = torch.arange(60.0).view(10, 3, 2)
    parts = whole.split([4, 4, 2])
    made = cached_rows("rows", (10, 3, 2), torch.float32, lambda: iter(parts))
    assert torch.equal(made, whole)
    contents = bytearray((cache / "rows").read_bytes())
    contents[-1] ^= 1
    (cache / "rows").write_bytes(contents)
    with caplog.at_level(logging.WARNING, logger="mambacl"):
        assert torch.equal(cached_rows("rows", (10, 3, 2), torch.float32, lambda: iter(parts)), whole)
    assert "damaged and computed again" in caplog.text
    assert cached_rows("none", (0, 2), torch.uint8, lambda: iter(())).shape == (0, 2)


def test_arguments_out_of_range_are_named():
    picture = labelled(Image.new("L", (8, 8)))
    with pytest.raises(InvalidValueError, match="`side` must be at least 1, got 0"):
        pixels(picture, 0)
    with pytest.raises(InvalidValueError, match=r"`mode` must be one of \('L', 'RGB'\), got 'CMYK'"):
        pixels(picture, 8, "CMYK")  # type: ignore[arg-type]
