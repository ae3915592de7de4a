"""`[data]` of an experiment: what its episodes are drawn from, and their sizes; a file for each kind."""

from __future__ import annotations

from typing import Annotated

from pydantic import Discriminator

from mambacl.experiments.data.characters import Hanzi21Features, Hanzi21Images
from mambacl.experiments.data.class_episodes import ClassEpisodes
from mambacl.experiments.data.completion import Completion
from mambacl.experiments.data.episode_data import EpisodeData
from mambacl.experiments.data.features import EncodedFeatures, FeatureFile
from mambacl.experiments.data.images import Images
from mambacl.experiments.data.rotation import Rotation
from mambacl.experiments.data.sine import Sine

__all__ = [
    "ClassEpisodes",
    "Completion",
    "Data",
    "EncodedFeatures",
    "EpisodeData",
    "FeatureFile",
    "Hanzi21Features",
    "Hanzi21Images",
    "Images",
    "Rotation",
    "Sine",
]

Data = Annotated[
    Hanzi21Images | Hanzi21Features | Images | EncodedFeatures | FeatureFile | Sine | Rotation | Completion,
    Discriminator("kind"),
]
