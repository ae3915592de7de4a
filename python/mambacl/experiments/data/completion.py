"""`[data]` of kind "completion"."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mambacl.config import Target, VectorTarget
from mambacl.data import Split, hanzi21
from mambacl.episodes import EpisodeSizes
from mambacl.episodes.completion import CompletionEpisodes
from mambacl.errors import ConfigError
from mambacl.experiments.data.episode_data import EpisodeData

HALF = (16, 32)
"""Height and width of a half, pixels."""

_PIXELS = HALF[0] * HALF[1]


@dataclass(frozen=True)
class Completion(EpisodeData):
    """Regression of a character's bottom half from its top half (`mambacl.episodes.completion`)."""

    kind: Literal["completion"] = field(default="completion", kw_only=True, repr=False)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return (_PIXELS,)

    def check_target(self, target: Target, tasks: int, name: str) -> None:
        """Halves are vectors; there may be as many tasks as the split has characters."""
        if target != VectorTarget(_PIXELS):
            raise ConfigError(
                f"experiment: `model.target` must be of kind 'vector' with `dim` = {_PIXELS}, as `data` of "
                f"kind {self.kind!r} has, got {target}"
            )

    def episodes(self, target: Target, sizes: EpisodeSizes, seed: int, split: Split) -> CompletionEpisodes:
        """Episodes of halved characters."""
        return CompletionEpisodes(hanzi21.load(split), sizes, seed, split)
