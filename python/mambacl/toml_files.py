"""TOML files: found by a path, or by a name in a folder, and read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mambacl import nearest, reading
from mambacl.errors import ConfigError


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
        ConfigError: If it cannot be read, is no TOML, or no regular file.
    """
    try:
        return reading.read_toml(file)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{what}: `{file}` cannot be read: {error}") from error
