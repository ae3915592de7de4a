"""Episodes whose streams show few images of each class, each in several jittered views."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from mambacl.data.feature_classes import FeatureClasses
from mambacl.episodes import Episode, EpisodeSource
from mambacl.errors import InvalidValueError


@dataclass(frozen=True, eq=False)
class ViewEpisodes:
    """The episodes of a source, whose streams go on with other views of the images that they show until there
    are enough of each class: so domains with few images of a class have streams as long as those of
    meta-training, and no stream shows the image of a query.

    Attributes:
        source: Of episodes of features, class after class.
        shots: Examples of each class: its images in turn, each time in another view; from as many as the
            source shows to that times the views there are.

    Raises:
        InvalidValueError: If the source is of other classes or another order, or the shots are out of range.
    """

    source: EpisodeSource
    shots: int

    def __post_init__(self) -> None:
        classes, order = self.source.classes, self.source.spec.order
        if not isinstance(classes, FeatureClasses) or order != "contiguous":
            raise InvalidValueError(
                "ViewEpisodes: `source` must be of FeatureClasses in the order 'contiguous', "
                f"got {type(classes).__name__} in the order {order!r}"
            )
        images, views = self.source.spec.train_shots, classes.views
        if not images <= self.shots <= images * views:
            raise InvalidValueError(
                f"ViewEpisodes: `shots` must be from {images} to {images * views}, {images} images in "
                f"{views} views, got {self.shots}"
            )

    def batch(self, first_index: int, batch_size: int) -> Episode:
        """Episodes `first_index` to `first_index + batch_size - 1`; raises as that of `source`."""
        images, tasks = self.source.spec.train_shots, self.source.spec.tasks
        turns = [
            self._turned(turn).batch(first_index, batch_size) for turn in range(-(-self.shots // images))
        ]

        def along(parts: list[Tensor]) -> Tensor:
            """Of each class the images of all turns behind one another, as many as there are shots."""
            whole = torch.cat([part.unflatten(1, (tasks, images)) for part in parts], dim=2)
            return whole[:, :, : self.shots].flatten(1, 2)

        return dataclasses.replace(
            turns[0],
            train_x=along([turn.train_x for turn in turns]),
            train_y=along([turn.train_y for turn in turns]),
        )

    def _turned(self, turn: int) -> EpisodeSource:
        """The same source, with the next views in the places of those that are drawn."""
        classes = self.source.classes
        assert isinstance(classes, FeatureClasses)
        turned = dataclasses.replace(classes, features=classes.features.roll(-turn, dims=1))
        return dataclasses.replace(self.source, classes=turned)
