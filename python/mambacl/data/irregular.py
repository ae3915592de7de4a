"""Entries of a disk that have a file's name and are none: opening a pipe would wait for ever."""

from __future__ import annotations

import stat


def irregular(mode: int) -> str | None:
    """What an entry of a disk is that cannot be read to its end as a file can; None for a file.

    Args:
        mode: `st_mode` of the entry.

    Examples:
        >>> from pathlib import Path
        >>> irregular(Path().stat().st_mode)
        'a folder'
    """
    if stat.S_ISREG(mode):
        return None
    return "a folder" if stat.S_ISDIR(mode) else "a pipe" if stat.S_ISFIFO(mode) else "a device or socket"
