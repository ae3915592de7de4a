"""What an experiment's episodes are drawn from, and their sizes: settings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field
from typing import Annotated, Literal

from pydantic import Discriminator

from mambacl.config import ClassTarget, Target, VectorTarget
from mambacl.data import AffineJitter, Classes, Split, hanzi21, hanzi21_features
from mambacl.data.sine import POINTS, SineEpisodes
from mambacl.episodes import EpisodeSizes, EpisodeSource, EpisodeSpec, SizedEpisodes
from mambacl.errors import ConfigError
from mambacl.settings import Settings
from mambacl.stream_order import Order


@dataclass(frozen=True)
class EpisodeData(Settings, ABC):
    """The sizes of an experiment's episodes. Each kind of data derives from it: it knows which targets fit,
    and draws the episodes.

    Attributes:
        tasks: Tasks of an episode's stream.
        train_shots: Labelled examples read of each.
        test_shots: Queries asked of each in meta-training.
        evaluation_test_shots: The same in meta-validation and meta-test.
        kind: Of the data.
    """

    tasks: int = 5
    train_shots: int = 5
    test_shots: int = 2
    evaluation_test_shots: int = 5
    kind: str = field(default="", kw_only=True, repr=False)

    @property
    @abstractmethod
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input."""

    @abstractmethod
    def check_target(self, target: Target, tasks: int, name: str) -> None:
        """Checks that a learner's target fits.

        Args:
            target: Of the learner.
            tasks: Of a stream.
            name: Of the argument or setting that says so, for the message.

        Raises:
            ConfigError: If it does not.
        """

    @abstractmethod
    def episodes(self, target: Target, sizes: EpisodeSizes, seed: int, split: Split) -> SizedEpisodes:
        """Episodes for a learner's target, which fits."""

    def sizes(self, split: Split, tasks: int | None, train_shots: int | None) -> EpisodeSizes:
        """The sizes of a split's episodes; what is None is that of these settings."""
        return EpisodeSizes(
            tasks=self.tasks if tasks is None else tasks,
            train_shots=self.train_shots if train_shots is None else train_shots,
            test_shots=self.test_shots if split == "train" else self.evaluation_test_shots,
        )


@dataclass(frozen=True)
class CharacterEpisodes(EpisodeData):
    """The sizes of episodes of characters, and the typefaces they show.

    Attributes:
        tasks: Classes of an episode; each is one task of the stream.
        train_shots: Labelled examples read of each class.
        test_shots: Queries asked of each class in meta-training.
        evaluation_test_shots: The same in meta-validation and meta-test.
        faces: Typefaces or styles of meta-training; empty for all.
        test_faces: Those of meta-validation and meta-test; empty for all.
        compound: Characters that make one class: each example shows one of them.
        order: Of the stream; see `EpisodeSpec`.
    """

    faces: tuple[str, ...] = ()
    test_faces: tuple[str, ...] = ()
    compound: int = 1
    order: Order = "contiguous"

    @abstractmethod
    def classes(self, split: Split) -> Classes:
        """The classes of a split."""

    def faces_of(self, split: Split) -> tuple[str, ...] | None:
        """The typefaces of a split's episodes, as the loaders take them."""
        return (self.faces if split == "train" else self.test_faces) or None

    def check_target(self, target: Target, tasks: int, name: str) -> None:
        """Characters are classes, and each class of a stream takes a symbol."""
        if not isinstance(target, ClassTarget):
            raise ConfigError(
                f"experiment: `model.target.kind` must be 'class', as `data` of kind {self.kind!r} has, "
                f"got {target.kind!r}"
            )
        if tasks > target.vocab:
            raise ConfigError(
                f"experiment: `{name}` must be at most `model.target.vocab` = {target.vocab}, the learner's "
                f"symbols, got {tasks}"
            )

    def episodes(self, target: Target, sizes: EpisodeSizes, seed: int, split: Split) -> EpisodeSource:
        """Episodes of classes."""
        assert isinstance(target, ClassTarget)
        spec = EpisodeSpec(**asdict(sizes), vocab=target.vocab, compound=self.compound, order=self.order)
        return EpisodeSource(self.classes(split), spec, seed, split)


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


@dataclass(frozen=True)
class Sine(EpisodeData):
    """Regression of sine waves (`mambacl.data.sine`)."""

    tasks: int = 10
    kind: Literal["sine"] = field(default="sine", kw_only=True, repr=False)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return (POINTS,)

    def check_target(self, target: Target, tasks: int, name: str) -> None:
        """Waves are vectors; there may be any number of tasks."""
        if target != VectorTarget(POINTS):
            raise ConfigError(
                f"experiment: `model.target` must be of kind 'vector' with `dim` = {POINTS}, as `data` of "
                f"kind {self.kind!r} has, got {target}"
            )

    def episodes(self, target: Target, sizes: EpisodeSizes, seed: int, split: Split) -> SineEpisodes:
        """Episodes of waves."""
        return SineEpisodes(sizes, seed, split)


Data = Annotated[Glyphs | GlyphFeatures | Sine, Discriminator("kind")]
