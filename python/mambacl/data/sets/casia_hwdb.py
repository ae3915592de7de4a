"""CASIA-HWDB: Chinese handwriting, in the files of its writers."""

from __future__ import annotations

import hashlib
import mmap
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from mambacl.data.sets import file_digest
from mambacl.data.sets.data_set import DataSet
from mambacl.data.sets.labelled import Labelled
from mambacl.data.splits import HeldOut, Split

_HEAD = 10  # bytes before a bitmap: size of the record u32, code 2 bytes, width u16, height u16


@dataclass(frozen=True)
class CasiaHwdb(DataSet):
    """CASIA-HWDB 1.0 to 1.2 (Liu et al., ICDAR 2011): isolated characters of 1,020 writers, grey on white.

    A .gnt file holds the characters of one writer, each a record of its own size; the writers are the
    domains. Characters that several of the three databases have are one class. Pictures are padded with white
    to squares, so that characters keep their proportions; records without a pixel are left out. A file that
    is cut where a record ends cannot be told from a whole one.

    That 1,000 classes are for meta-test is CL-as-Seq's (arXiv:2310.11952), which shuffled them in an order
    that nobody can know; which ones is ours, and so are the 500 that are held out of the rest for
    meta-validation.

    Attributes:
        held_out: Classes for meta-validation and meta-test.
        files: How many .gnt files there must be.
    """

    held_out: HeldOut = field(kw_only=True)
    files: int = 1020

    def _load(self, split: Split, root: Path | None) -> Labelled[Image.Image]:
        assert root is not None
        paths = sorted(root.rglob("*.gnt"), key=lambda path: (path.name, path))
        self.check_count(f".gnt files in {root}", self.files, len(paths))
        maps = [self._mapped(path) for path in paths]
        records = [self._records(path, contents) for path, contents in zip(paths, maps, strict=True)]
        code, offset = (np.concatenate([record[:, column] for record in records]) for column in (0, 1))
        writer = np.repeat(np.arange(len(paths)), [len(record) for record in records])
        order = np.argsort(code, kind="stable")
        codes, first, count = np.unique(code[order], return_index=True, return_counts=True)
        names = [self._name(each) for each in codes.tolist()]
        kept = self.positions(self.held_out, names, split)
        rows = np.concatenate([order[first[k] : first[k] + count[k]] for k in kept])

        def read(row: int) -> Image.Image:
            number = rows[row]
            return _picture(maps[writer[number]], int(offset[number]))

        try:
            contents = file_digest.of_files([path.name for path in paths], paths)
        except OSError as error:
            raise self.missing(f"the files in {root} cannot be read: {error}") from error
        digest = hashlib.sha256(contents.encode())
        for column in (code, offset, writer):
            digest.update(np.ascontiguousarray(column[rows]).data)
        return Labelled(
            f"{self.name}-{split}-{digest.hexdigest()[:16]}",
            tuple(names[k] for k in kept),
            torch.from_numpy(count[kept]),
            read,
            torch.from_numpy(writer[rows]),
            tuple(path.stem for path in paths),
        )

    def _mapped(self, path: Path) -> mmap.mmap:
        self.check_file(path)
        try:
            with path.open("rb") as file:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise self.missing(f"the file {path} cannot be read: {error}") from error

    def _records(self, path: Path, contents: mmap.mmap) -> npt.NDArray[np.int64]:
        """The code of each character and where its record begins, (n, 2)."""
        found: list[tuple[int, int]] = []
        offset = 0
        while offset < len(contents):
            head = contents[offset : offset + _HEAD]
            width, height = int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little")
            size = int.from_bytes(head[:4], "little")
            if len(head) < _HEAD or offset + size > len(contents):
                raise self.missing(
                    f"the file {path} breaks off in the record at byte {offset:,} of {len(contents):,}"
                )
            if size != _HEAD + width * height:
                raise self.missing(
                    f"the file {path} is damaged: the record at byte {offset:,} must have "
                    f"{_HEAD + width * height:,} bytes for {width} x {height} pixels, got {size:,}"
                )
            if width and height:
                found.append((int.from_bytes(head[4:6], "big"), offset))
            offset += size
        return np.array(found, dtype=np.int64).reshape(-1, 2)

    def _name(self, code: int) -> str:
        """The character of a code of GBK; ASCII has its own in the first byte."""
        raw = code.to_bytes(2, "big").rstrip(b"\0")
        try:
            name = raw.decode("gbk")
        except UnicodeDecodeError:
            name = ""
        if not name.isprintable() or not name:
            raise self.missing(f"its files are damaged: {raw.hex() or '00'} is no character of GBK")
        return name


def _picture(contents: mmap.mmap, offset: int) -> Image.Image:
    """The bitmap of the record at an offset, in the middle of a white square."""
    width, height = (int.from_bytes(contents[offset + at : offset + at + 2], "little") for at in (6, 8))
    pixels = np.frombuffer(contents, np.uint8, width * height, offset + _HEAD).reshape(height, width)
    side = max(width, height)
    square = Image.new("L", (side, side), 255)
    square.paste(Image.fromarray(pixels), ((side - width) // 2, (side - height) // 2))
    return square


CASIA_HWDB = CasiaHwdb(
    name="casia-hwdb",
    kind="images",
    summary="CASIA-HWDB 1.0 to 1.2, handwritten Chinese characters; split by hash, 500 and 1,000 held out",
    source=(
        "Get the ten files Gnt1.0TrainPart1.zip to Gnt1.2Test.zip from "
        "https://nlpr.ia.ac.cn/databases/handwriting/Download.html and unpack each into a folder of its own: "
        "ROOT/Gnt1.0Test/*.gnt and so on, 1,020 files in all."
    ),
    ink=True,
    held_out=HeldOut(validation=500, test=1000),
)
