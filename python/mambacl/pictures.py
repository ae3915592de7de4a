"""Pictures as the package takes them: upright, grey or in colour, eight bits a level, nothing seen through.

Everything that opens a file of a picture, or takes one from a user, goes through here.
"""

from __future__ import annotations

from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, UnidentifiedImageError

from mambacl.errors import DataError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Formats that are read, by Pillow's names. A file's contents decide, not its name. None of them starts
another program, as Pillow does for PostScript. PPM stands for its family (PBM, PGM), JPEG for MPO too."""

MOST_PIXELS = 89_478_485
"""Pictures of more pixels are refused before they are decoded: from here on Pillow warns of bombs."""

VERSION = 2
"""Raised with every change of the pixels that a file gives: it is a part of the keys of caches."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture of each EXIF orientation upright; 1 is upright."""

_ORIENTATION, _BITS, _PHOTOMETRIC = 0x0112, 258, 262  # tags of EXIF and TIFF
_GREY = ("1", "L", "LA", "La")
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")


def read(file: IO[bytes], name: str) -> Image.Image:
    """The picture of a file; of an animation, or a file of several pages, the first.

    Args:
        file: One of `FORMATS`.
        name: Of the file, for messages.

    Returns:
        As `plain` gives it.

    Raises:
        DataError: If the file is damaged, of another format, too large, or has levels without a range.
    """
    try:
        with Image.open(file, formats=FORMATS) as image:
            most = min(MOST_PIXELS, Image.MAX_IMAGE_PIXELS or MOST_PIXELS)
            if image.width * image.height > most:
                raise DataError(f"it has {image.width:,} x {image.height:,} pixels, of {most:,} at most")
            image.load()
            return plain(image)
    except MemoryError:
        raise
    except (DataError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"the image {name} is refused: {error}") from error
    except UnidentifiedImageError as error:
        known = ", ".join(FORMATS)
        raise DataError(
            f"the image {name} is damaged: cannot identify it as one of the formats {known}"
        ) from error
    except Exception as error:  # of damaged files Pillow raises whatever it stumbles over
        raise DataError(f"the image {name} is damaged: {str(error) or type(error).__name__}") from error


def taken(picture: Image.Image, name: str) -> Image.Image:
    """A picture that a library opened, as `plain` gives it.

    Args:
        picture: Perhaps not decoded yet.
        name: Of the picture, for messages.

    Raises:
        DataError: If it is damaged, or has levels without a range.
    """
    try:
        return plain(picture)
    except MemoryError:
        raise
    except DataError as error:
        raise DataError(f"the image {name} is refused: {error}") from error
    except Exception as error:
        raise DataError(f"the image {name} is damaged: {str(error) or type(error).__name__}") from error


def plain(picture: Image.Image) -> Image.Image:
    """A picture of any mode as one of mode "L" or "RGB". One that is so already keeps its pixels.

    - The EXIF orientation is applied; one that cannot be read counts as upright.
    - What is seen through, wholly or in part, is laid on white.
    - Sixteen bits of grey become eight: 0 to 65535 becomes 0 to 255, rounded; in TIFF files of twelve bits
      0 to 4095. Grey of 32 bits, integers or floats, has no range that its file tells, and is refused.
    - Black and white, and grey with transparency, become "L"; palettes, CMYK and YCbCr become "RGB".

    Args:
        picture: Of Pillow.

    Returns:
        A picture without metadata; the same one if there is nothing to do.

    Raises:
        DataError: If its levels have no range, or its mode is another.

    Examples:
        >>> sixteen = Image.fromarray(np.array([[0, 257, 65535]], dtype=np.uint16))
        >>> np.asarray(plain(sixteen)).tolist()
        [[0, 1, 255]]
        >>> plain(Image.new("RGBA", (1, 1), (0, 0, 0, 0))).getpixel((0, 0))
        (255, 255, 255)
    """
    if picture.mode in ("L", "RGB") and not picture.info and not isinstance(picture, ImageFile.ImageFile):
        return picture
    turn = _turn(picture)  # first: a conversion may lose it
    if picture.mode in (*_SIXTEEN_BITS, "I", "F"):
        eight_bits = _grey_of_sixteen_bits(picture)
    elif _seen_through(picture):
        eight_bits = _on_white(picture)
    elif picture.mode in ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"):
        eight_bits = picture.convert("L" if picture.mode in _GREY else "RGB")
    else:
        raise DataError(f"a picture of Pillow's mode {picture.mode} is not read")
    upright = eight_bits if turn is None else eight_bits.transpose(turn)
    upright.info = {}  # an orientation left in it would be applied again
    return upright


def _turn(picture: Image.Image) -> Image.Transpose | None:
    """What makes a picture upright."""
    try:
        return _TURNS.get(picture.getexif().get(_ORIENTATION, 1))
    except MemoryError:
        raise
    except Exception:  # cameras and editors write damaged EXIF; the pixels are good
        return None


def _seen_through(picture: Image.Image) -> bool:
    if picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        return True
    return picture.palette is not None and picture.mode == "P" and picture.palette.mode.endswith("A")


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode == "La":
        picture = picture.convert("LA")  # Pillow has no direct way
    colours = picture.convert("RGBA")
    laid = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), colours)
    return laid.convert("L" if picture.mode in _GREY else "RGB")


def _grey_of_sixteen_bits(picture: Image.Image) -> Image.Image:
    # Older versions of Pillow read PNG and PPM files of sixteen bits in mode "I".
    if picture.mode not in _SIXTEEN_BITS and not (picture.mode == "I" and picture.format in ("PNG", "PPM")):
        raise DataError(
            f"a picture of 32 bits a level (Pillow's mode {picture.mode}) does not tell the range of its "
            "levels; save it with 8 or 16 bits"
        )
    tags = getattr(picture, "tag_v2", {})
    if tags.get(_PHOTOMETRIC, 1) != 1:
        raise DataError("a picture whose 16-bit levels count from white to black is not read")
    most = 4095 if tags.get(_BITS) == (12,) else 65535
    levels: npt.NDArray[np.int64] = np.asarray(picture).astype(np.int64)
    if levels.min() < 0 or levels.max() > most:
        raise DataError(
            f"the levels of a picture must be from 0 to {most}, got {levels.min()} to {levels.max()}"
        )
    eight_bits = ((levels * 255 + most // 2) // most).astype(np.uint8)
    if isinstance(clear := picture.info.get("transparency"), int):
        eight_bits[levels == clear] = 255
    return Image.fromarray(eight_bits)
