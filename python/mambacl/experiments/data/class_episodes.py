"""Episodes of classes: what is the same whatever the examples are."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import asdict, dataclass
from typing import Annotated

from mambacl.config import ClassTarget, Target
from mambacl.data import Classes, Split
from mambacl.episodes import EpisodeSizes, EpisodeSource, EpisodeSpec
from mambacl.errors import ConfigError, InvalidValueError
from mambacl.experiments.data.episode_data import EpisodeData
from mambacl.ranges import Range
from mambacl.stream_order import Order


@dataclass(frozen=True)
class ClassEpisodes(EpisodeData):
    """The sizes of episodes of classes. Each kind of data that has classes derives from it.

    Attributes:
        tasks: Tasks of an episode's stream; each is one class.
        train_shots: Labelled examples read of each class.
        test_shots: Queries asked of each class in meta-training.
        evaluation_test_shots: The same in meta-validation and meta-test.
        compound: Classes of the data that make one class of an episode: each example shows one of them.
        order: Of the stream; see `EpisodeSpec`.
    """

    compound: Annotated[int, Range(1, 10_000)] = 1
    order: Order = "contiguous"

    @abstractmethod
    def classes(self, split: Split) -> Classes:
        """The classes of a split."""

    @property
    def origin(self) -> str:
        """What the classes are of, for messages."""
        return self.kind

    def check_target(self, target: Target, tasks: int, name: str) -> None:
        """Each class of a stream takes a symbol."""
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
        """Episodes of classes.

        Raises:
            InvalidValueError: If the split has too few classes, or one of them too few examples.
        """
        assert isinstance(target, ClassTarget)
        spec = EpisodeSpec(**asdict(sizes), vocab=target.vocab, compound=self.compound, order=self.order)
        classes = self.classes(split)
        self.check_classes(classes, sizes, split)
        return EpisodeSource(classes, spec, seed, split)

    def check_classes(self, classes: Classes, sizes: EpisodeSizes, split: Split) -> None:
        """Checks that a split's classes fill episodes, in the names of the settings.

        Args:
            classes: Of the split.
            sizes: Of its episodes.
            split: For the message.

        Raises:
            InvalidValueError: If they are too few, or one has too few examples.
        """
        where, counts = f"the {split} split of {self.origin}", classes.examples_per_class
        tasks = "`data.tasks`" if sizes.tasks == self.tasks else "`tasks`"
        if self.compound > 1:
            tasks += " * `data.compound`"
        if (needed := sizes.tasks * self.compound) > len(counts):
            raise InvalidValueError(
                f"experiment: {tasks} must be at most the number of classes in {where}, {len(counts)}, got "
                f"{needed}"
            )
        shots = "`data.train_shots`" if sizes.train_shots == self.train_shots else "`train_shots`"
        asked = "`data.test_shots`" if split == "train" else "`data.evaluation_test_shots`"
        needed = sizes.train_shots + sizes.test_shots
        for name, count in zip(classes.names, counts.tolist(), strict=True):
            if count < needed:
                raise InvalidValueError(
                    f"experiment: each class in {where} must have at least {shots} + {asked} = {needed} "
                    f"examples, got {count} of {name!r}"
                )
