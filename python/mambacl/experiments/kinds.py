"""The kinds that `[model]` names, checked before the engine reads it: by other names as well."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from mambacl.config import KINDS, LEARNERS, plugin_kinds
from mambacl.errors import ConfigError

_KINDS = {
    "model.kind": [*LEARNERS],  # and those written in Python
    "model.encoder.kind": KINDS["encoder"],
    "model.target.kind": KINDS["target"],
    "model.mixer.kind": KINDS["mixer"],
    "model.feed_forward.kind": KINDS["feed_forward"],
}

_ALSO_CALLED = {
    "transformer": "attention",
    "linear_transformer": "linear_attention",
    "features": "vector",
    "images": "cnn",
    "classes": "class",
}
"""Kinds by names that others, or other settings, have for them."""


def check_kinds(model: Mapping[str, Any]) -> None:
    """Checks every kind that a table `[model]` names.

    Args:
        model: The table; what is no table in it, and what is no name, is left to the engine.

    Raises:
        ConfigError: If there is no such kind; with the one that was probably meant.

    Examples:
        >>> check_kinds({"mixer": {"kind": "attention"}})
        >>> check_kinds({"encoder": {"kind": "images"}})
        Traceback (most recent call last):
        ...
        mambacl.errors.ConfigError: model: `model.encoder.kind` must be one of 'cnn', 'vector', got \
'images'; did you mean `cnn`?
    """
    plugin = isinstance(kind := model.get("kind"), str) and kind not in LEARNERS and plugin_kinds.find(kind)
    for place, known in _KINDS.items():
        if plugin and place not in ("model.encoder.kind", "model.target.kind"):
            continue  # it may have parts of its own
        table: Any = model
        for part in place.split(".")[1:-1]:
            table = table.get(part)
        kind = table.get("kind") if isinstance(table, Mapping) else None
        if isinstance(kind, str) and kind not in known:
            known = [*known, *plugin_kinds.names()] if place == "model.kind" else known
            names = ", ".join(map(repr, known))
            raise ConfigError(f"model: `{place}` must be one of {names}, got {kind!r}{_hint(place, kind)}")


def _hint(place: str, kind: str) -> str:
    """The kind that was probably meant, there or at another place."""
    meant = _ALSO_CALLED.get(kind.lower().replace("-", "_").replace(" ", "_"), kind)
    plugins = plugin_kinds.names() if place == "model.kind" else []
    if near := difflib.get_close_matches(meant, [*_KINDS[place], *plugins], n=1):
        return f"; did you mean `{near[0]}`?"
    elsewhere = next((other for other, known in _KINDS.items() if meant in known), None)
    return f"; did you mean `{elsewhere}={meant}`?" if elsewhere else ""
