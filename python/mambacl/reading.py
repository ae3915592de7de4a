"""Files read under one rule: regular files only, of a bounded size, as bytes, as text, as JSON or as TOML.

Every reader of the package reads through these functions. They raise `OSError` and `ValueError` only,
whatever the file holds; the caller turns both into its own error, which names the file.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import stat
import sys
from collections.abc import Iterator
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TOMLDecodeError = tomllib.TOMLDecodeError
"""A text is no TOML."""

MOST_TEXT = 256 * 2**20
"""Bytes that a file of JSON may have."""

MOST_TOML = 2**20
"""Bytes that a file of TOML may have."""

MOST_BYTES = 16 * 2**30
"""Bytes that any other file may have, if the machine has as much memory."""

DEEPEST = 64
"""Tables and lists that may stand inside one another."""

LEAST_INTEGER, LARGEST_INTEGER = -(2**63), 2**64 - 1
"""What an integer must be within: 64 bits, signed or not."""

_LONGEST_SHOWN = 200
_PART_BYTES = 2**20
_PART = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*"""
_LONG_KEY = re.compile(rf"(?<![\w-])(?:{_PART}\.[ \t]*){{{DEEPEST}}}")


def read_bytes(path: str | os.PathLike[str], most: int = MOST_BYTES) -> bytes:
    """The bytes of a file.

    Args:
        path: The file. A pipe is not opened: reading it could wait for ever.
        most: Bytes that it may have.

    Raises:
        OSError: If it cannot be read, is no regular file, or is too large.
        ValueError: If no path can be so, with a zero byte, say.
    """
    check_regular(path)
    # Another process may have put a pipe in its place since: it must not block, and is looked at again.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb") as file:
        size = _regular_size(os.fstat(descriptor))
        most = min(most, _memory())
        if size > most:
            told = f"it has {size:,} bytes, more than the {most:,} that are read"
            raise OSError(told)
        try:
            return file.read(size)  # what another process appends meanwhile is left out
        except MemoryError:
            told = f"its {size:,} bytes do not fit into the memory"
            raise OSError(told) from None


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file of any size, in hexadecimal.

    Raises:
        OSError, ValueError: As `check_regular`, and if the file cannot be read.
    """
    check_regular(path)
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(_PART_BYTES):
            digest.update(part)
    return digest.hexdigest()


def check_regular(path: str | os.PathLike[str]) -> None:
    """Checks that a path leads to a regular file, before anything opens it.

    Raises:
        OSError: If there is no file, or it is a folder, a pipe, a socket or a device.
        ValueError: If no path can be so.
    """
    _regular_size(os.stat(path))


def read_text(path: str | os.PathLike[str], most: int = MOST_TEXT) -> str:
    """The text of a file in UTF-8; a byte order mark at its beginning is left out.

    Raises:
        OSError, ValueError: As `read_bytes`, and if the bytes are not UTF-8.
    """
    return _decoded(read_bytes(path, most))


def read_json(path: str | os.PathLike[str]) -> Any:
    """The value of a JSON file.

    Raises:
        OSError, ValueError: As `read_text` and `parse_json`.
    """
    return parse_json(read_bytes(path, MOST_TEXT))


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The table of a TOML file.

    Raises:
        OSError, ValueError: As `read_text` and `parse_toml`.
    """
    return parse_toml(read_text(path, MOST_TOML))


def parse_json(data: bytes | str) -> Any:
    """The value of a JSON text.

    Args:
        data: The text, as bytes in UTF-8.

    Raises:
        ValueError: If it is no JSON, is nested deeper than `DEEPEST`, or has a number out of range: an
            integer beyond 64 bits, or digits of a number that is infinite as a float.

    Examples:
        >>> parse_json(b'{"step": 3}')
        {'step': 3}
        >>> parse_json("[1e999]")
        Traceback (most recent call last):
        ...
        ValueError: a number must be within the range of float64, got 1e999
    """
    text = _decoded(data) if isinstance(data, bytes) else data
    try:
        value = json.loads(text, parse_int=_integer, parse_float=_float)
    except RecursionError:
        raise ValueError(_too_deep("")) from None
    check_values(value)
    return value


def parse_toml(text: str) -> dict[str, Any]:
    """The table of a TOML text.

    Raises:
        ValueError: As `parse_json`, of TOML.
    """
    if _LONG_KEY.search(text):  # whose reading would take time by the square of its length
        raise ValueError(f"a key must have at most {DEEPEST} parts")
    try:
        table = tomllib.loads(text, parse_float=_toml_float)
    except RecursionError:
        raise ValueError(_too_deep("")) from None
    except tomllib.TOMLDecodeError:
        raise
    except ValueError as error:
        if "integer string conversion" in str(error):
            raise ValueError(_beyond("an integer", "one of thousands of digits")) from None
        raise
    check_values(table)
    return table


def check_values(value: Any, name: str = "") -> None:
    """Checks the depth of a value of tables and lists, and the size of its integers.

    Args:
        value: To check.
        name: Of the value, for messages; empty for a whole file.

    Raises:
        ValueError: If it is nested deeper than `DEEPEST`, or an integer is beyond 64 bits; says where.
    """
    waiting: list[tuple[str, int, Any]] = [(name, 0, value)]
    while waiting:
        place, depth, one = waiting.pop()
        if isinstance(one, int):
            if not LEAST_INTEGER <= one <= LARGEST_INTEGER:
                raise ValueError(_beyond(f"`{place}`" if place else "an integer", shown(one)))
        elif isinstance(one, dict | list | tuple):
            if depth == DEEPEST:
                raise ValueError(_too_deep(place))
            waiting += ((_inside(place, key), depth + 1, part) for key, part in _parts(one))


def shown(value: object) -> str:
    """A value for a message: as Python writes it, but short, whatever it is.

    Examples:
        >>> shown("a")
        "'a'"
        >>> shown(10**5000)
        'an integer of about 5001 digits'
    """
    if isinstance(value, int) and value.bit_length() > 4 * _LONGEST_SHOWN:
        return f"an integer of about {int(value.bit_length() * math.log10(2)) + 1} digits"
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # of an integer of many digits inside, or of many lists
        return f"a {type(value).__name__}"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _regular_size(status: os.stat_result) -> int:
    if stat.S_ISDIR(status.st_mode):
        raise OSError("it is no regular file but a folder")
    if not stat.S_ISREG(status.st_mode):
        raise OSError("it is no regular file")  # it might have no end
    return status.st_size


def _memory() -> int:
    """Bytes of the machine's memory."""
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", ()):
        return MOST_BYTES
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _decoded(data: bytes) -> str:
    return str(data, "utf-8-sig")


def _integer(digits: str) -> int:
    if len(digits) > 20 or not LEAST_INTEGER <= int(digits) <= LARGEST_INTEGER:
        got = digits if len(digits) <= 40 else f"one of {len(digits)} digits"
        raise ValueError(_beyond("an integer", got))
    return int(digits)


def _float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        told = digits if len(digits) <= 40 else f"{digits[:40]}..."
        raise ValueError(f"a number must be within the range of float64, got {told}")
    return number


def _toml_float(digits: str) -> float:
    return float(digits) if digits.lstrip("+-") == "inf" else _float(digits)


def _parts(value: dict[Any, Any] | list[Any] | tuple[Any, ...]) -> Iterator[tuple[Any, Any]]:
    yield from value.items() if isinstance(value, dict) else enumerate(value)


def _inside(place: str, key: object) -> str:
    return f"{place}.{key}" if place else str(key)


def _beyond(what: str, got: str) -> str:
    return f"{what} must be from -2^63 to 2^64 - 1, got {got}"


def _too_deep(place: str) -> str:
    where = f" in `{place[:40]}...`" if place else ""
    return f"tables and lists must be at most {DEEPEST} deep{where}"
