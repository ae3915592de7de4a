"""The sweeps of the package, by the names of their TOML files."""

from __future__ import annotations

from pathlib import Path

from mambacl import packaged, toml_files

_FOLDER = packaged.folder("mambacl.sweeps")


def names() -> list[str]:
    """The sweeps of the package."""
    return toml_files.names(_FOLDER)


def sweep_file(sweep: str) -> Path:
    """The file of a sweep.

    Args:
        sweep: A name of the package's, or a path that ends in .toml.

    Raises:
        ConfigError: If the package has none of this name; with the nearest.

    Examples:
        >>> sweep_file("features-5x5").name
        'features-5x5.toml'
    """
    return toml_files.path("sweep", sweep, _FOLDER)
