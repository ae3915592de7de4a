"""Pictures of files: which formats are read, and what becomes of levels, transparency and orientation."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mambacl import pictures
from mambacl.data.sets.image_folder import FOLDER
from mambacl.errors import DataError

NOISE = np.random.default_rng(3).integers(0, 256, (6, 5, 3), np.uint8)
UNEVEN = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20  # no turn leaves it as it is


def contents(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def read(file: bytes) -> Image.Image:
    return pictures.read(io.BytesIO(file), "one.png")


def pixels(file: bytes) -> list[Any]:
    return np.asarray(read(file)).tolist()


MODES = {
    "PNG": ["L", "RGB", "1", "P"],
    "TIFF": ["L", "RGB", "1", "P", "CMYK"],
    "BMP": ["L", "RGB", "1", "P"],
    "PPM": ["L", "RGB", "1"],
    "JPEG": ["L", "RGB", "CMYK"],
    "GIF": ["L", "RGB", "1", "P"],
    "WEBP": ["L", "RGB"],
}


@pytest.mark.parametrize(("kind", "mode"), [(kind, mode) for kind, modes in MODES.items() for mode in modes])
def test_eight_bits_are_as_pillow_decodes_them(kind: str, mode: str):
    """What was measured on such files stays as it was."""
    given = Image.fromarray(NOISE)
    made = given.convert("P", palette=Image.Palette.ADAPTIVE) if mode == "P" else given.convert(mode)
    file = contents(made, kind)
    with Image.open(io.BytesIO(file)) as opened:
        expected = opened.convert("L" if opened.mode in ("1", "L") else "RGB")
    got = read(file)
    assert got.mode == expected.mode
    assert got.tobytes() == expected.tobytes()


def test_a_plain_picture_is_returned_itself():
    grey = Image.fromarray(UNEVEN)
    assert pictures.plain(grey) is grey


@pytest.mark.parametrize(
    ("kind", "dtype"), [("PNG", "<u2"), ("TIFF", "<u2"), ("TIFF", ">u2"), ("PPM", "<u2")]
)
def test_sixteen_bits_keep_their_levels(kind: str, dtype: str):
    levels = np.array([[0, 1, 128, 129, 257, 32767, 65406, 65407, 65535]], dtype)
    assert pixels(contents(Image.fromarray(levels), kind)) == [[0, 0, 0, 1, 1, 127, 254, 255, 255]]


def test_sixteen_bits_with_a_clear_level():
    levels = np.array([[0, 5, 32896]], np.uint16)
    assert pixels(contents(Image.fromarray(levels), "PNG", transparency=5)) == [[0, 255, 128]]


def tiff(bits: int, photometric: int, strip: bytes, width: int) -> bytes:
    """A grey picture of one row."""
    tags = [(256, width), (257, 1), (258, bits), (259, 1), (262, photometric), (277, 1), (278, 1)]
    tags = sorted([*tags, (273, 8 + 2 + 12 * 9 + 4), (279, len(strip))])
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", 9) + entries + bytes(4) + strip


def test_twelve_bits_have_a_range_of_their_own():
    assert pixels(tiff(12, 1, bytes.fromhex("000 fff 800 7ff".replace(" ", "")), 4)) == [[0, 255, 128, 127]]


def test_levels_that_count_from_white_are_not_taken_for_the_reverse():
    assert pixels(tiff(8, 0, b"\0\xff", 2)) == [[255, 0]]
    with pytest.raises(DataError, match="count from white to black"):
        read(tiff(16, 0, b"\0\0\xff\xff", 2))


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_levels_without_a_range_are_refused(dtype: Any):
    file = contents(Image.fromarray(UNEVEN.astype(dtype)), "TIFF")
    with pytest.raises(DataError, match=r"one\.png is refused: a picture of 32 bits a level.*8 or 16 bits"):
        read(file)


def test_what_is_seen_through_lies_on_white():
    rgba = np.array([[[9, 20, 30, 255], [9, 20, 30, 0], [0, 100, 200, 102]]], np.uint8)
    mixed = [[9, 20, 30], [255, 255, 255], [153, 193, 233]]  # 0.4 of the colour, 0.6 of white
    assert pixels(contents(Image.fromarray(rgba), "PNG")) == [mixed]
    assert pixels(contents(Image.fromarray(rgba), "TIFF")) == [mixed]
    grey = Image.fromarray(np.array([[[0, 255], [0, 0], [100, 102]]], np.uint8), "LA")
    assert pixels(contents(grey, "PNG")) == [[0, 255, 193]]
    palette = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    palette.putpalette([9, 20, 30, 1, 1, 1, 0, 100, 200])
    assert pixels(contents(palette, "PNG", transparency=bytes([255, 0, 102]))) == [mixed]
    assert pixels(contents(palette, "GIF", transparency=1))[0][:2] == mixed[:2]
    assert pixels(contents(Image.fromarray(UNEVEN[:1]), "PNG", transparency=20)) == [[0, 255, 40, 60]]


def turned(orientation: int) -> np.ndarray:
    """What a viewer shows of `UNEVEN` (EXIF 2.32, tag 0x0112): row 0 and column 0 are at the named sides."""
    return {
        1: UNEVEN,
        2: UNEVEN[:, ::-1],
        3: UNEVEN[::-1, ::-1],
        4: UNEVEN[::-1],
        5: UNEVEN.T,
        6: np.rot90(UNEVEN, -1),
        7: UNEVEN[::-1, ::-1].T,
        8: np.rot90(UNEVEN),
    }[orientation]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_orientation_is_applied_once(kind: str, orientation: int):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind == "JPEG" else {}
    got = read(contents(Image.fromarray(UNEVEN), kind, exif=exif, **options)).convert("L")
    assert got.size == turned(orientation).shape[::-1]
    assert np.abs(np.asarray(got).astype(int) - turned(orientation)).max() <= (3 if kind == "JPEG" else 0)
    assert pictures.plain(got).tobytes() == got.tobytes()


def test_sixteen_bits_and_transparency_are_turned_too():
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = Image.fromarray(UNEVEN.astype(np.uint16) * 257)
    assert pixels(contents(deep, "PNG", exif=exif)) == turned(6).tolist()
    clear = Image.fromarray(np.stack([UNEVEN, np.full_like(UNEVEN, 255)], axis=-1), "LA")
    assert pixels(contents(clear, "PNG", exif=exif)) == turned(6).tolist()


def test_damaged_exif_leaves_the_picture_as_it_is():
    file = contents(Image.fromarray(UNEVEN), "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff no tags")
    assert pixels(file) == UNEVEN.tolist()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_the_first_is_read(kind: str):
    frames = [Image.fromarray(np.full((4, 4, 3), level, np.uint8)) for level in (40, 200)]
    options = {"lossless": True} if kind == "WEBP" else {}
    file = contents(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert np.asarray(read(file)).flatten().tolist() == [40] * 48


@pytest.mark.parametrize("kind", ["EPS", "ICO", "TGA", "PCX", "SGI"])
def test_a_format_that_is_not_listed_is_refused_whatever_the_name(kind: str):
    with pytest.raises(
        DataError, match=r"one\.png is damaged: cannot identify it as one of .*BMP, GIF, JPEG"
    ):
        read(contents(Image.fromarray(NOISE), kind))


def test_no_program_is_started(monkeypatch: pytest.MonkeyPatch):
    import subprocess

    def start(*arguments: object, **_: object) -> None:
        raise AssertionError(f"{arguments} is started")

    monkeypatch.setattr(subprocess, "Popen", start)
    with pytest.raises(DataError, match="cannot identify"):
        read(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n%%EOF\n")


def png_header(width: int, height: int) -> bytes:
    """A picture of zeros in a few bytes, or the beginning of one."""
    chunks = {b"IHDR": struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0), b"IDAT": zlib.compress(b"")}
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks.items()
    )


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [9_460, 20_000])  # Pillow warns of the one and refuses the other
def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch, side: int):
    def decode(_: Image.Image) -> None:
        raise AssertionError("it is decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    with pytest.raises(DataError, match=r"one\.png is refused: .*pixels"):
        read(png_header(side, side))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_limit_holds_where_pillows_is_lifted_and_follows_a_lower_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(DataError, match="refused: it has 9,460 x 9,460 pixels, of 89,478,485 at most"):
        read(png_header(9_460, 9_460))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 29)
    with pytest.raises(DataError, match="5 x 6 pixels, of 29 at most"):
        read(contents(Image.fromarray(NOISE), "PNG"))


@pytest.mark.parametrize(
    "error", [RuntimeError("x"), TypeError(), KeyError("x"), SyntaxError(), OverflowError()]
)
def test_whatever_pillow_raises_is_an_error_of_data(monkeypatch: pytest.MonkeyPatch, error: Exception):
    file = contents(Image.fromarray(NOISE), "PNG")
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", raising(error))
    with pytest.raises(DataError, match=r"the image one\.png is damaged: \S"):
        read(file)


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_what_is_no_fault_of_the_file_goes_through(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
):
    file = contents(Image.fromarray(NOISE), "PNG")
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", raising(error()))
    with pytest.raises(error):
        read(file)


def raising(error: BaseException) -> Callable[..., None]:
    def load(*_: object) -> None:
        raise error

    return load


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "PPM", "JPEG", "GIF", "WEBP"])
@pytest.mark.filterwarnings("ignore")
def test_damage_anywhere_is_told_or_makes_a_picture(kind: str):
    random = np.random.default_rng(0)
    good = contents(Image.fromarray(NOISE), kind)
    for _ in range(60):
        bad = bytearray(good[: random.integers(1, len(good) + 1)])
        for place in random.integers(0, len(bad), 3):
            bad[place] = random.integers(256)
        told, mode = "", ""
        try:
            mode = read(bytes(bad)).mode
        except DataError as error:
            told = str(error)
        assert "one.png" in told or mode in ("L", "RGB")


def test_a_set_of_deep_pictures_has_their_levels(tmp_path: Path):
    for name in "abcdefghij":
        (tmp_path / name).mkdir()
        Image.fromarray(UNEVEN.astype(np.uint16) * 257).save(tmp_path / name / "deep.png")
    assert np.asarray(FOLDER.load("train", tmp_path).read(0)).tolist() == UNEVEN.tolist()
