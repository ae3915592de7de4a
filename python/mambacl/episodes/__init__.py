"""Episodes of continual learning, drawn as a pure function of (seed, split, index)."""

from mambacl.episodes.dataset import EpisodeDataset
from mambacl.episodes.episode import Episode
from mambacl.episodes.protocols import Episodes, SizedEpisodes, check_indices
from mambacl.episodes.sizes import EpisodeSizes, EpisodeSpec
from mambacl.episodes.source import EpisodeSource

__all__ = [
    "Episode",
    "EpisodeDataset",
    "EpisodeSizes",
    "EpisodeSource",
    "EpisodeSpec",
    "Episodes",
    "SizedEpisodes",
    "check_indices",
]
