"""Which meta-train characters train the frozen encoder, and which are left for episodes on its features.

An encoder knows the characters that it was trained to tell apart better than any other. Were they in the
meta-training episodes too, features would be clearer there than at the test, and a learner would learn to
trust them more than it should. So the two share no character.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from mambacl.data import hanzi21
from mambacl.data.image_classes import ImageClasses
from mambacl.data.jitter import AffineJitter
from mambacl.data.splits import Split, split_by_hash

ENCODER_CHARACTERS = 1200
"""Of the 2,500 meta-train characters; the other 1,300 are for episodes."""

_SALT = "mambacl/hanzi21/encoder/1"


def encoder_characters(
    faces: Collection[str] | None = None, jitter: AffineJitter | None = None
) -> ImageClasses:
    """The 1,200 meta-train characters that train an encoder, in no episode on its features.

    Args:
        faces: As for `hanzi21.load`.
        jitter: As for `hanzi21.load`.

    Returns:
        The images.

    Raises:
        InvalidValueError: If a face is unknown, or no face is named.
        DataError: If the packaged file is missing or damaged.

    Examples:
        >>> len(encoder_characters()), len(episode_characters("train"))
        (1200, 1300)
    """
    return _part("encoder", hanzi21.load("train", faces, jitter))


def episode_characters(
    split: Split, faces: Collection[str] | None = None, jitter: AffineJitter | None = None
) -> ImageClasses:
    """The characters for episodes on features: of "train" those the encoders never saw, of the others all.

    Args:
        split: "train", "validation" or "test".
        faces: As for `hanzi21.load`.
        jitter: As for `hanzi21.load`.

    Returns:
        The images.

    Raises:
        InvalidValueError: If the split or a face is unknown, or no face is named.
        DataError: If the packaged file is missing or damaged.
    """
    images = hanzi21.load(split, faces, jitter)
    return _part("episodes", images) if split == "train" else images


def _part(part: Literal["encoder", "episodes"], train: ImageClasses) -> ImageClasses:
    sizes = {"encoder": ENCODER_CHARACTERS, "episodes": len(train) - ENCODER_CHARACTERS}
    return train.select(split_by_hash([ord(name) for name in train.names], sizes, _SALT)[part])
