"""A digest of the contents of files, which are read once, and again only when their entries have changed."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

from mambacl import durable
from mambacl.data.cache import cache_folder

_SETTLED_SECONDS = 60
"""A file that was changed later than this before may be changed once more without a trace in its times: disks
round them, to two seconds at worst."""

_ENTRY = ("st_size", "st_mtime_ns", "st_ctime_ns", "st_ino", "st_dev")

logger = logging.getLogger(__name__)


def of_files(names: Sequence[str], paths: Sequence[Path]) -> str:
    """The digest of files' names and contents.

    All are read, which takes as long as the disk needs. The digest is then kept in the cache folder, under
    what the disk says of the files without reading them: size, times of the last change of contents and of
    the entry, and inode. So the files are read again only if one of these has changed.

    Args:
        names: Of the files within the set, wherever it lies; any bytes, as `os.fsdecode` gives them.
        paths: Of the same files.

    Returns:
        64 hexadecimal digits.

    Raises:
        OSError: If a file is not there or cannot be read.
    """
    entries, changed = hashlib.sha256(), 0.0
    for name, path in zip(names, paths, strict=True):
        entry = path.stat()
        changed = max(changed, entry.st_ctime, entry.st_mtime)
        entries.update(_line(name, *(getattr(entry, field) for field in _ENTRY)))
    settled = changed < time.time() - _SETTLED_SECONDS
    known = cache_folder() / "contents" / entries.hexdigest()[:32]
    if settled and (kept := _kept(known)):
        return kept
    digest = hashlib.sha256()
    for name, path in zip(names, paths, strict=True):
        digest.update(_line(name, _of_contents(path)))
    if settled:
        try:
            known.parent.mkdir(parents=True, exist_ok=True)
            durable.write(known, digest.hexdigest().encode())
        except OSError as error:
            logger.warning("the file %s cannot be kept, the data are read again next time: %s", known, error)
    return digest.hexdigest()


def _line(name: str, *values: object) -> bytes:
    """A record that no other one can be taken for, whatever the name."""
    encoded = os.fsencode(name)
    return b"%d " % len(encoded) + encoded + " ".join(["", *map(str, values), "\n"]).encode()


def _of_contents(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _kept(known: Path) -> str | None:
    try:
        kept = known.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None
    return kept if re.fullmatch("[0-9a-f]{64}", kept) else None
