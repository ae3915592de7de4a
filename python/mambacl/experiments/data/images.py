"""`[data]` of kind "images": the pixels of any image set."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from mambacl.data import AffineJitter, Classes, Split
from mambacl.data.pixels import CHANNELS, Mode, pixels
from mambacl.data.sets import Labelled, data_set
from mambacl.errors import ConfigError
from mambacl.experiments.data.class_episodes import ClassEpisodes
from mambacl.ranges import Range


@dataclass(frozen=True)
class Images(ClassEpisodes):
    """Pictures of a data set (`mambacl data list`), decoded once and kept (`mambacl.data.pixels`).

    Attributes:
        set: Its name.
        root: The folder it lies in; None if it needs none.
        side: Of the square images, pixels.
        mode: "L" for grey or "RGB".
        jitter: Of every image; None for none.
        domains: Those of meta-training; empty for all.
        test_domains: Those of meta-validation and meta-test; empty for all.
    """

    set: str = field(kw_only=True)
    root: str | None = None
    side: Annotated[int, Range(1, 4_096)] = 32
    mode: Mode = "RGB"
    jitter: AffineJitter | None = None
    domains: tuple[str, ...] = ()
    test_domains: tuple[str, ...] = ()
    kind: Literal["images"] = field(default="images", kw_only=True, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (kind := data_set(self.set).kind) != "images":
            raise ConfigError(f"experiment: `data.set` must be a set of images, got {self.set!r}, of {kind}")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return (CHANNELS[self.mode], self.side, self.side)

    @property
    def origin(self) -> str:
        """The set."""
        return self.set

    def digests(self, split: Split) -> dict[str, str]:
        """The key that the pictures are cached under."""
        return {f"the {split} split of {self.set}": self._labelled(split).key}

    def _labelled(self, split: Split) -> Labelled[Any]:
        root = None if self.root is None else Path(self.root).expanduser()
        return data_set(self.set).load(split, root)

    def classes(self, split: Split) -> Classes:
        """The classes of a split."""
        pictures, labelled = data_set(self.set), self._labelled(split)
        if wanted := self.domains if split == "train" else self.test_domains:
            labelled = labelled.only(wanted)
        return pixels(labelled, self.side, self.mode, ink=pictures.ink, jitter=self.jitter)
