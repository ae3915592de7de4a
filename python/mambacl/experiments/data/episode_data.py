"""What every kind of `[data]` says: the sizes of episodes, which targets fit, how episodes are drawn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar

from mambacl.config import Target
from mambacl.data import Split
from mambacl.episodes import EpisodeSizes, SizedEpisodes
from mambacl.errors import ConfigError
from mambacl.ranges import Range
from mambacl.settings import Settings

Tasks = Annotated[int, Range(1, 100_000)]
"""Of an episode's stream."""

Shots = Annotated[int, Range(1, 100_000)]
"""Of a task."""

_MOST_EXAMPLES = 1_000_000


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

    Raises:
        ConfigError: If a number is out of its range, or an episode would have more than 1,000,000 examples.
    """

    where: ClassVar[str] = "data"

    tasks: Tasks = 5
    train_shots: Shots = 5
    test_shots: Shots = 2
    evaluation_test_shots: Shots = 5
    kind: str = field(default="", kw_only=True, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        for shots in ("test_shots", "evaluation_test_shots"):
            _check_examples(self.tasks, self.train_shots, getattr(self, shots), shots)

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

    def digests(self, split: Split) -> dict[str, str]:
        """A digest of each file or set that the episodes of a split come from, by its name; none where they
        come with the package, or from a formula.

        Raises:
            MambaclError: If one cannot be read.
        """
        del split
        return {}

    def check_test(self) -> None:
        """Checks before training that meta-test has what its episodes take, where it is at hand by then: that
        of other sets may be on another machine, or take hours to encode.

        Raises:
            InvalidValueError: If classes or examples are too few.
        """

    def sizes(self, split: Split, tasks: int | None, train_shots: int | None) -> EpisodeSizes:
        """The sizes of a split's episodes; what is None is that of these settings.

        Raises:
            ConfigError: If one is out of its range, or an episode would have too many examples.
        """
        changes = {"tasks": tasks, "train_shots": train_shots}
        own = replace(self, **{name: value for name, value in changes.items() if value is not None})
        return EpisodeSizes(
            tasks=own.tasks,
            train_shots=own.train_shots,
            test_shots=own.test_shots if split == "train" else own.evaluation_test_shots,
        )


def _check_examples(tasks: int, train_shots: int, test_shots: int, name: str) -> None:
    if (got := tasks * (train_shots + test_shots)) > _MOST_EXAMPLES:
        raise ConfigError(
            f"data: `tasks` * (`train_shots` + `{name}`), the examples of an episode, must be at most "
            f"{_MOST_EXAMPLES:,}, got {got:,}"
        )
