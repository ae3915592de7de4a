"""Things by name, and what an error tells of a name that there is not."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import TypeVar

from mambacl.errors import ConfigError

T = TypeVar("T")


def found(what: str, name: str, things: Mapping[str, T], others: str = "") -> T:
    """The thing of a name.

    Args:
        what: It is, for the message.
        name: As it was given.
        things: All that there are, by name.
        others: What else there is, told after them.

    Raises:
        ConfigError: If there is none; with the nearest name.

    Examples:
        >>> found("study", "noise", {"shots": 1, "noise": 2})
        2
    """
    if name not in things:
        raise ConfigError(f"{what}: there is none named {name!r}; {hint(name, [*things], others)}")
    return things[name]


def hint(name: str, names: Sequence[str], others: str = "") -> str:
    """The name that was probably meant, or else all that there are.

    Args:
        name: As it was given.
        names: Those that there are.
        others: What else there is, told after them.

    Returns:
        The end of a message, a clause.

    Examples:
        >>> hint("omniglott", ["emoji", "omniglot"])
        "did you mean 'omniglot'?"
        >>> hint("birds", ["emoji", "omniglot"], "hf:ORG/NAME")
        'there are emoji, omniglot, hf:ORG/NAME'
    """
    if near := difflib.get_close_matches(name, names, n=1):
        return f"did you mean {near[0]!r}?"
    return f"there are {', '.join([*names, *([others] if others else [])])}"
