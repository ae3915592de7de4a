"""What an experiment's episodes are drawn from, and their sizes: settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Discriminator

from mambacl.data import AffineJitter, Classes, Split, hanzi21, hanzi21_features
from mambacl.settings import Settings


@dataclass(frozen=True)
class CharacterEpisodes(Settings):
    """The sizes of an experiment's episodes, and the typefaces they show.

    Attributes:
        tasks: Classes of an episode; each is one task of the stream.
        train_shots: Labelled examples read of each class.
        test_shots: Queries asked of each class in meta-training.
        evaluation_test_shots: The same in meta-validation and meta-test.
        faces: Typefaces or styles of meta-training; empty for all.
        test_faces: Those of meta-validation and meta-test; empty for all.
        compound: Characters that make one class: each example shows one of them.
    """

    tasks: int = 5
    train_shots: int = 5
    test_shots: int = 2
    evaluation_test_shots: int = 5
    faces: tuple[str, ...] = ()
    test_faces: tuple[str, ...] = ()
    compound: int = 1

    def faces_of(self, split: Split) -> tuple[str, ...] | None:
        """The typefaces of a split's episodes, as the loaders take them."""
        return (self.faces if split == "train" else self.test_faces) or None


@dataclass(frozen=True)
class Glyphs(CharacterEpisodes):
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
class GlyphFeatures(CharacterEpisodes):
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


Data = Annotated[Glyphs | GlyphFeatures, Discriminator("kind")]
