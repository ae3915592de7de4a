"""The kinds of learners written in Python: registered ones, and those of installed packages."""

from __future__ import annotations

from importlib import metadata
from typing import Any

from mambacl.errors import ConfigError
from mambacl.importing import import_named

PLUGINS: dict[str, type[Any]] = {}
"""The settings of learners written in Python, by their kind; `mambacl.register` enters them."""

GROUP = "mambacl.learners"
"""Entry points of installed packages: the name is the kind, the value the module that registers it."""


def find(kind: str) -> type[Any] | None:
    """The settings of a kind; an entry point of that name is imported if the kind is not registered yet.

    Args:
        kind: Of a learner.

    Returns:
        The dataclass, or None if no plug-in is of that kind.

    Raises:
        ConfigError: If the module of the entry point cannot be imported, or does not register the kind.
    """
    if kind not in PLUGINS:
        for entry in metadata.entry_points(group=GROUP, name=kind):
            where = f"entry point `{kind}` of {GROUP}"
            import_named(entry.module, where)
            if kind not in PLUGINS:
                raise ConfigError(
                    f"{where}: the module `{entry.module}` must register {kind!r}, got {', '.join(PLUGINS)}"
                )
    return PLUGINS.get(kind)


def names() -> list[str]:
    """All kinds that are registered, and those of entry points."""
    return list(dict.fromkeys([*PLUGINS, *(entry.name for entry in metadata.entry_points(group=GROUP))]))
