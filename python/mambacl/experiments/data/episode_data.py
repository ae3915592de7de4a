"""What every kind of `[data]` says: the sizes of episodes, which targets fit, how episodes are drawn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from mambacl.config import Target
from mambacl.data import Split
from mambacl.episodes import EpisodeSizes, SizedEpisodes
from mambacl.settings import Settings


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

    def check_test(self) -> None:
        """Checks before training that meta-test has what its episodes take, where it is at hand by then: that
        of other sets may be on another machine, or take hours to encode.

        Raises:
            InvalidValueError: If classes or examples are too few.
        """

    def sizes(self, split: Split, tasks: int | None, train_shots: int | None) -> EpisodeSizes:
        """The sizes of a split's episodes; what is None is that of these settings."""
        return EpisodeSizes(
            tasks=self.tasks if tasks is None else tasks,
            train_shots=self.train_shots if train_shots is None else train_shots,
            test_shots=self.test_shots if split == "train" else self.evaluation_test_shots,
        )
