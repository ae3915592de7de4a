"""`[data]` of kind "sine"."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mambacl.config import Target, VectorTarget
from mambacl.data import Split
from mambacl.episodes import EpisodeSizes
from mambacl.episodes.sine import POINTS, SineEpisodes
from mambacl.errors import ConfigError
from mambacl.experiments.data.episode_data import EpisodeData, Tasks


@dataclass(frozen=True)
class Sine(EpisodeData):
    """Regression of sine waves (`mambacl.episodes.sine`)."""

    tasks: Tasks = 10
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
