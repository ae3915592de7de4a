"""`[data]` of hanzi21: images of characters, and features of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mambacl.data import AffineJitter, Classes, Split, hanzi21, hanzi21_features
from mambacl.experiments.data.class_episodes import ClassEpisodes


@dataclass(frozen=True)
class CharacterEpisodes(ClassEpisodes):
    """The sizes of episodes of characters, and the typefaces they show.

    Attributes:
        faces: Typefaces or styles of meta-training; empty for all.
        test_faces: Those of meta-validation and meta-test; empty for all.
    """

    faces: tuple[str, ...] = ()
    test_faces: tuple[str, ...] = ()

    def faces_of(self, split: Split) -> tuple[str, ...] | None:
        """The typefaces of a split's episodes, as the loaders take them."""
        return (self.faces if split == "train" else self.test_faces) or None


@dataclass(frozen=True)
class Hanzi21Images(CharacterEpisodes):
    """Images of characters, 32 x 32 (`mambacl.data.hanzi21`).

    Attributes:
        jitter: Of every image; None for none.
    """

    jitter: AffineJitter | None = None
    kind: Literal["hanzi21"] = field(default="hanzi21", kw_only=True, repr=False)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return (1, 32, 32)

    def classes(self, split: Split) -> Classes:
        """The classes of a split."""
        return hanzi21.load(split, self.faces_of(split), self.jitter)


@dataclass(frozen=True)
class Hanzi21Features(CharacterEpisodes):
    """Features of jittered images of characters by a frozen encoder (`mambacl.data.hanzi21_features`).

    Attributes:
        encoder: "all", or "print" for the encoder that has seen print faces only.
    """

    encoder: Literal["all", "print"] = "all"
    kind: Literal["hanzi21-features"] = field(default="hanzi21-features", kw_only=True, repr=False)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return (128,)

    def classes(self, split: Split) -> Classes:
        """The classes of a split."""
        return hanzi21_features.load(split, faces=self.faces_of(split), encoder=self.encoder)
