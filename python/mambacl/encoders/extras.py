"""Packages that an encoder needs, which only an extra brings."""

from __future__ import annotations

from importlib.util import find_spec

from mambacl.errors import ConfigError


def require(encoder: str, extra: str, *modules: str) -> None:
    """Checks that packages are installed, before one is imported.

    Args:
        encoder: Who needs them, for the message.
        extra: Of mambacl that brings them.
        modules: As they are imported.

    Raises:
        ConfigError: If one is missing, with the command that installs it.

    Examples:
        >>> require("demo", "encoders", "torch")
        >>> require("demo", "encoders", "torch", "no_package")
        Traceback (most recent call last):
        ...
        mambacl.errors.ConfigError: encoder demo: needs no_package; pip install '.[encoders]' in the checkout
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        install = f"pip install '.[{extra}]' in the checkout"
        raise ConfigError(f"encoder {encoder}: needs {', '.join(missing)}; {install}")
