"""TOML files: found by a path, or by a name in a folder, and read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mambacl import nearest
from mambacl.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["names", "path", "read", "tomllib"]


def names(folder: Path) -> list[str]:
    """The TOML files of a folder, sorted, without their endings."""
    return sorted(file.stem for file in folder.glob("*.toml"))


def path(what: str, name: str, folder: Path) -> Path:
    """Where a TOML file is.

    Args:
        what: It holds, for the message.
        name: Of a file in the folder, or a path that ends in .toml.
        folder: Of files that have names.

    Raises:
        ConfigError: If the folder has none of this name; with the nearest.
    """
    if name.endswith(".toml"):
        return Path(name)
    return nearest.found(what, name, {known: folder / f"{known}.toml" for known in names(folder)})


def read(what: str, file: Path) -> dict[str, Any]:
    """The table of a TOML file.

    Args:
        what: It holds, for the message.
        file: To read.

    Raises:
        ConfigError: If it cannot be read.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{what}: `{file}` cannot be read: {error}") from error
