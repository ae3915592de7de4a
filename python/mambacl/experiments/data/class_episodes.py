"""Episodes of classes: what is the same whatever the examples are."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import asdict, dataclass

from mambacl.config import ClassTarget, Target
from mambacl.data import Classes, Split
from mambacl.episodes import EpisodeSizes, EpisodeSource, EpisodeSpec
from mambacl.errors import ConfigError
from mambacl.experiments.data.episode_data import EpisodeData
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

    compound: int = 1
    order: Order = "contiguous"

    @abstractmethod
    def classes(self, split: Split) -> Classes:
        """The classes of a split."""

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
        """Episodes of classes."""
        assert isinstance(target, ClassTarget)
        spec = EpisodeSpec(**asdict(sizes), vocab=target.vocab, compound=self.compound, order=self.order)
        return EpisodeSource(self.classes(split), spec, seed, split)
