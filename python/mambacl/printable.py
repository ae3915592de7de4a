"""Text from outside, such as names of files, as it may stand in a message."""

from __future__ import annotations


def printable(text: object) -> str:
    r"""A text in which every character can be printed; others are written as escapes.

    Names of files may hold bytes that are not UTF-8, and line breaks. Python keeps the former as lone
    surrogates, which cannot be encoded.

    Args:
        text: A text, or what has one, such as a path.

    Examples:
        >>> print(printable("caf\udce9 1.png"), printable("two\nlines"), printable("漢字"))
        caf\udce9 1.png two\nlines 漢字
    """
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in str(text)
    )
