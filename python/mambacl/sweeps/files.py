"""The sweeps of the package, by the names of their TOML files."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from mambacl import nearest
from mambacl.errors import ConfigError

_FOLDER = Path(str(files("mambacl.sweeps") / "files"))


def names() -> list[str]:
    """The sweeps of the package."""
    found = (file.name for file in _FOLDER.iterdir())
    return sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml"))


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
    if sweep.endswith(".toml"):
        return Path(sweep)
    if sweep in names():
        return _FOLDER / f"{sweep}.toml"
    raise ConfigError(f"sweep: there is none named {sweep!r}; {nearest.hint(sweep, names())}")
