"""Names of the rows of the sweep `sequence-learners`, which studies put together in figures."""

from __future__ import annotations

UNGUIDED = "-unguided"
"""Ends the names of learners that were trained without the regulariser."""

SEQUENCE = (
    "mamba",
    "transformer",
    "linear-transformer",
    "mamba-2",
    "mamba-3",
    "gated-delta-net",
    "performer",
)
"""Those that have a regulariser."""


def is_sequence(learner: str) -> bool:
    """Whether a learner is one of these, with the regulariser or without.

    Examples:
        >>> is_sequence("mamba-unguided"), is_sequence("oml")
        (True, False)
    """
    return learner.removesuffix(UNGUIDED) in SEQUENCE
