"""Arguments that are True or False."""

from __future__ import annotations

import numpy as np

from mambacl.errors import InvalidValueError


def flag(op: str, name: str, value: object, expected: str = "True or False") -> bool:
    """An argument that is True or False: those, numpy's, and the integers 1 and 0.

    Args:
        op: What was called, for the message.
        name: Of the argument.
        value: As it was given.
        expected: What it must be, for the message.

    Raises:
        InvalidValueError: If it is anything else.

    Examples:
        >>> flag("fit", "adapt", np.True_), flag("fit", "adapt", 0)
        (True, False)
        >>> flag("fit", "adapt", "yes")
        Traceback (most recent call last):
        ...
        mambacl.errors.InvalidValueError: fit: argument `adapt` must be True or False, got 'yes'
    """
    if isinstance(value, bool | np.bool_ | int | np.integer) and value in (0, 1):
        return bool(value)
    raise InvalidValueError(f"{op}: argument `{name}` must be {expected}, got {value!r}")
