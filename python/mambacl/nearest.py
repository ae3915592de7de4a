"""What an error tells of a name that there is not."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


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
