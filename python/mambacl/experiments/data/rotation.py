"""`[data]` of kind "rotation"."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mambacl.config import AngleTarget, Target
from mambacl.data import Split, hanzi21
from mambacl.episodes import EpisodeSizes
from mambacl.episodes.rotation import RotationEpisodes
from mambacl.errors import ConfigError
from mambacl.experiments.data.episode_data import EpisodeData


@dataclass(frozen=True)
class Rotation(EpisodeData):
    """Regression of the angle that a character is turned by (`mambacl.episodes.rotation`)."""

    kind: Literal["rotation"] = field(default="rotation", kw_only=True, repr=False)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return (1, 32, 32)

    def check_target(self, target: Target, tasks: int, name: str) -> None:
        """Angles; there may be as many tasks as the split has characters."""
        if target != AngleTarget():
            raise ConfigError(
                "experiment: `model.target` must be of kind 'angle' with `dim` = 2, as `data` of kind "
                f"{self.kind!r} has, got {target}"
            )

    def episodes(self, target: Target, sizes: EpisodeSizes, seed: int, split: Split) -> RotationEpisodes:
        """Episodes of turned characters."""
        return RotationEpisodes(hanzi21.load(split), sizes, seed, split)
