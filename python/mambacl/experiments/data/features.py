"""Features of frozen encoders, or of a file, as kinds of data."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from mambacl import reading
from mambacl.data import Split
from mambacl.data.feature_classes import FeatureClasses
from mambacl.data.feature_file import feature_file
from mambacl.data.feature_formats import missing
from mambacl.data.features import features
from mambacl.data.sets import Labelled, data_set
from mambacl.encoders import FrozenEncoder, frozen_encoder
from mambacl.encoders.registry import known_encoder
from mambacl.errors import ConfigError, DataError
from mambacl.experiments.data.class_episodes import ClassEpisodes
from mambacl.ranges import Range, Share


@dataclass(frozen=True)
class FeatureEpisodes(ClassEpisodes):
    """The sizes of episodes of feature vectors.

    Attributes:
        dim: Numbers in a vector. It is a setting, so that a run's learner can be made without its data.
    """

    dim: Annotated[int, Range(1, 1_000_000)] = field(kw_only=True)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return (self.dim,)

    def _checked(self, classes: FeatureClasses) -> FeatureClasses:
        if classes.dim != self.dim:
            raise ConfigError(
                f"experiment: `data.dim` must be {classes.dim}, as the features have, got {self.dim}"
            )
        return classes


@dataclass(frozen=True)
class EncodedFeatures(FeatureEpisodes):
    """Features of a data set by a frozen encoder, computed at first use (`mambacl.data.features`).

    Attributes:
        set: Of `mambacl.data.sets`.
        encoder: Of `mambacl.encoders`.
        root: The folder that the data set lies in; empty for those of the package.
        faces: Domains of meta-training, such as typefaces or designs; empty for all.
        test_faces: Those of meta-validation and meta-test; empty for all.
    """

    set: str = field(kw_only=True)
    encoder: str = field(kw_only=True)
    root: str = ""
    faces: tuple[str, ...] = ()
    test_faces: tuple[str, ...] = ()
    kind: Literal["features"] = field(default="features", kw_only=True, repr=False)

    @property
    def origin(self) -> str:
        """The set."""
        return self.set

    def classes(self, split: Split) -> FeatureClasses:
        """The classes of a split.

        Raises:
            ConfigError: If there is no such set or encoder, or one does not fit to the other, or to `dim`.
            InvalidValueError: If there is no such domain.
            DataError: If the set or the encoder's weights are missing or damaged.
        """
        found = self._checked(features(self._labelled(split), _encoder(self.encoder)))
        faces = self.faces if split == "train" else self.test_faces
        return found.only(faces) if faces else found

    def digests(self, split: Split) -> dict[str, str]:
        """The keys that the features are cached under."""
        labelled, encoder = self._labelled(split), _encoder(self.encoder)
        return {
            f"the {split} split of {self.set}": labelled.key,
            f"the encoder {self.encoder}": encoder.key,
        }

    def _labelled(self, split: Split) -> Labelled[Any]:
        what, reads = data_set(self.set), known_encoder(self.encoder).kind
        if what.kind != reads:
            raise ConfigError(
                f"experiment: `data.encoder` must read {what.kind}, as the set {self.set!r} has, got "
                f"{self.encoder!r}, which reads {reads}"
            )
        return what.load(split, Path(self.root).expanduser() if self.root else None)


@dataclass(frozen=True)
class FeatureFile(FeatureEpisodes):
    """Features of a file of yours (`mambacl.data.feature_file`).

    Attributes:
        file: .npz, .safetensors or .npy; from where the command runs, if the path is relative.
        labels: The labels' .npy if `file` is one; empty else.
        validation: Share of the classes for meta-validation, if the file has no `split`.
        test: The same for meta-test.
    """

    file: str = field(kw_only=True)
    labels: str = ""
    validation: Share = 0.2
    test: Share = 0.2
    kind: Literal["feature-file"] = field(default="feature-file", kw_only=True, repr=False)

    @property
    def origin(self) -> str:
        """The file."""
        return self.file

    def check_test(self) -> None:
        """The file has all splits. One without classes for meta-test is only trained on."""
        classes = self.classes("test")
        if len(classes):
            self.check_classes(classes, self.sizes("test", None, None), "test")

    def classes(self, split: Split) -> FeatureClasses:
        """The classes of a split.

        Raises:
            ConfigError: If they have another `dim`.
            InvalidValueError: If the shares leave nothing for meta-training.
            DataError: If the file cannot be read or makes no sense.
        """
        file = Path(self.file).expanduser()
        labels = Path(self.labels).expanduser() if self.labels else None
        return self._checked(feature_file(file, labels, validation=self.validation, test=self.test)[split])

    def digests(self, split: Split) -> dict[str, str]:
        """The SHA-256 of the file, and of that of the labels: all splits come from them.

        Raises:
            DataError: If one cannot be read.
        """
        del split
        found: dict[str, str] = {}
        for file in filter(None, (self.file, self.labels)):
            try:
                found[f"the file {file}"] = reading.sha256(Path(file).expanduser())
            except FileNotFoundError as error:
                raise DataError(missing(Path(file).expanduser())) from error
            except (OSError, ValueError) as error:
                raise DataError(f"feature file {file}: it cannot be read: {error}") from error
        return found


@functools.lru_cache(maxsize=1)
def _encoder(name: str) -> FrozenEncoder[Any]:
    """Loaded once for all splits."""
    return frozen_encoder(name)
