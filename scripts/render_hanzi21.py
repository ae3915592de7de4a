"""Render hanzi21 again from the Debian packages of its typefaces, and compare with the packaged file.

    python scripts/render_hanzi21.py FOLDER

downloads the packages named in `hanzi21.json` into FOLDER (`apt-get download`: no root needed, nothing
is installed), unpacks them with `dpkg-deb`, draws the characters that nearly all faces have, and writes
`FOLDER/hanzi21.npz`. Needs Pillow and fontTools (both come with matplotlib) besides numpy.

Outcome: with the packages of Debian 12 (bookworm) and Pillow 13.0 the packed images are equal to the
packaged ones byte for byte, after about 11 s on one core. Another Pillow brings another FreeType, which
may round pixels differently.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont

Pixels = npt.NDArray[np.uint8]

PACKAGED = Path(__file__).parents[1] / "python" / "mambacl" / "data" / "files"
CODEPOINTS = range(0x4E00, 0xA000)  # CJK Unified Ideographs
CELL = 32
FONT_SIZE = 29
CANVAS = 3 * CELL
INK = 32  # grey values above this count as ink when centring, so that a faint fringe does not shift a glyph
MIN_FACES_NAMED = 19  # faces whose character map must hold a character for it to be drawn at all
MIN_FACES = 20  # faces whose glyph of it must be good

FONT_FILES = {
    "soseki": "aoyagi-soseki.ttf",
    "kouzan": "kouzan-mouhitsu.ttf",
    "kouzant": "AoyagiKouzanT.ttf",
    "gyosho": "kouzan-mouhitsu-gyosho.ttf",
    "sousho": "KouzanBrushFontSousyo.ttf",
    "kiloji": "kiloji.ttf",
    "seto": "setofont.ttf",
    "yoz": "YOzRC_.ttf",
    "bizudm": "BIZUDMincho-Regular.ttf",
    "dejima": "dejima-mincho-r227.ttf",
    "vl": "VL-Gothic-Regular.ttf",
    "microhei": "wqy-microhei.ttc",
    "cedar": "MTLc3m.ttf",
    "konatu": "Konatu.ttf",
    "mona": "mona.ttf",
    "sawag": "sawarabi-gothic-medium.ttf",
    "dot": "DotGothic16-Regular.ttf",
    "stick": "Stick-Regular.ttf",
    "reggae": "ReggaeOne-Regular.ttf",
    "rock": "RocknRollOne-Regular.ttf",
    "smiley": "SmileySans-Oblique.ttf",
}


def download(packages: set[str], folder: Path) -> None:
    """Fetches the Debian packages into `folder` and unpacks each into a folder of its name."""
    missing = sorted(package for package in packages if not (folder / package).is_dir())
    if missing:
        subprocess.run(["apt-get", "download", *missing], cwd=folder, check=True)
    for package in missing:
        (archive,) = folder.glob(f"{package}_*.deb")
        subprocess.run(["dpkg-deb", "-x", str(archive), str(folder / package)], check=True)


def levels(font: ImageFont.FreeTypeFont, character: str) -> Pixels | None:
    """Draws a character centred on its ink in a cell; 4 levels, (32, 32) uint8; None if blank."""
    canvas = Image.new("L", (CANVAS, CANVAS))
    ImageDraw.Draw(canvas).text((CELL, CELL), character, font=font, fill=255)
    grey = np.asarray(canvas)
    rows, columns = (np.flatnonzero((grey > INK).any(axis)) for axis in (1, 0))
    if not len(rows):
        return None
    top, left = (start(ink) for ink in (rows, columns))
    return np.round(grey[top : top + CELL, left : left + CELL] / 85).astype(np.uint8)


def start(ink: npt.NDArray[np.intp]) -> int:
    """Where the cell begins along one axis, its middle on the middle of the ink."""
    first, end = int(ink[0]), int(ink[-1]) + 1
    return first - (CELL + 1 - (end - first)) // 2


def characters(path: Path) -> set[int]:
    """The code points in the character map of a face."""
    with TTFont(path, fontNumber=0, lazy=True) as font:
        return set(font.getBestCmap() or ())


def glyphs(path: Path, candidates: list[int]) -> dict[int, bytes]:
    """The good glyphs of a face by code point, as packed bytes.

    Some faces map characters they lack to a blank or to one and the same box, so blanks are dropped,
    and so are glyphs that several candidates share.
    """
    font = ImageFont.truetype(path, FONT_SIZE)
    drawn = {point: pixels for point in candidates if (pixels := levels(font, chr(point))) is not None}
    packed = {point: pack(pixels) for point, pixels in drawn.items()}
    times = Counter(packed.values())
    return {point: glyph for point, glyph in packed.items() if times[glyph] == 1}


def pack(pixels: Pixels) -> bytes:
    """Four pixels a byte, the first in the high bits."""
    first, second, third, fourth = pixels.reshape(-1, 4).T
    return (first << 6 | second << 4 | third << 2 | fourth).tobytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="where packages and the result go")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)

    description = json.loads((PACKAGED / "hanzi21.json").read_text(encoding="utf-8"))
    download({entry["package"] for entry in description["faces"]}, folder)
    paths: list[Path] = []
    for entry in description["faces"]:
        (path,) = (folder / entry["package"]).rglob(FONT_FILES[entry["name"]])
        paths.append(path)
    named = Counter(point for path in paths for point in characters(path))
    candidates = [point for point in CODEPOINTS if named[point] >= MIN_FACES_NAMED]
    faces = [glyphs(path, candidates) for path in paths]

    codepoints = [point for point in CODEPOINTS if sum(point in face for face in faces) >= MIN_FACES]
    present = np.array([[point in face for face in faces] for point in codepoints])
    packed = b"".join(face[point] for point in codepoints for face in faces if point in face)
    of_classes = {"present": np.packbits(present, axis=1), "codepoints": np.array(codepoints, np.int32)}
    images = np.frombuffer(packed, np.uint8).reshape(-1, CELL * CELL // 4)
    np.savez_compressed(folder / "hanzi21.npz", packed=images, **of_classes)
    digests = {
        "sha256_packed": packed,
        "sha256_present_codepoints": b"".join(array.tobytes() for array in of_classes.values()),
    }
    same = all(hashlib.sha256(data).hexdigest() == description[name] for name, data in digests.items())
    print(f"{len(codepoints)} characters, {int(present.sum())} images;", end=" ")
    print("equal to the packaged file" if same else "NOT equal to the packaged file")


if __name__ == "__main__":
    main()
