"""Domains that learners are asked of, and where their episodes come from."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mambacl.episodes import Episodes, EpisodeSource
from mambacl.errors import DataError
from mambacl.experiments.data import EncodedFeatures, Images
from mambacl.experiments.experiment import Experiment
from mambacl.studies.scale import Scale
from mambacl.studies.view_episodes import ViewEpisodes

FACES, DESIGNS, PIXELS = "features-faces", "emoji-designs", "pixels-5x5"

OMNIGLOT = "MAMBACL_OMNIGLOT"
"""The environment variable with the folder that holds Omniglot's `small 1` part."""

Source = Callable[[Experiment], Episodes]


@dataclass(frozen=True)
class Domain:
    """A domain that learners are asked of.

    Attributes:
        name: As drawn.
        stream: What is read of each class; domains where it is the same are drawn beside one another.
        source: Of its test episodes, for the experiment of a learner.
    """

    name: str
    stream: str
    source: Source

    @property
    def condition(self) -> str:
        """Its name in answers and tables."""
        return f"{self.name}, {self.stream}"


@dataclass(frozen=True)
class Part:
    """What the learners of a sweep are asked of.

    Attributes:
        data: The kind of data in their meta-training, by which their experiments are known.
        title: Of the figure's panels.
        caption: Of the table, after "Accuracy by domain, ".
        domains: In the order shown.
    """

    data: str
    title: str
    caption: str
    domains: tuple[Domain, ...]


def omniglot_folder() -> Path | None:
    """The folder that the environment variable names; None if it names none.

    Raises:
        DataError: If it is not there.
    """
    named = os.environ.get(OMNIGLOT)
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise DataError(
            f"study: {OMNIGLOT} must name the folder of omniglot-small1, got {named!r}, not there"
        )
    return folder


def _images(*styles: str) -> Source:
    """Episodes of some styles of typefaces, each example of a class in another face: 5 read, 3 asked."""
    return lambda experiment: _faces(experiment, styles, 5, 3)


def _views(*styles: str) -> Source:
    """The same of 2 faces and a query in a third, each of the two in several views: 5 examples again."""
    return lambda experiment: ViewEpisodes(_faces(experiment, styles, 2, 1), 5)


def _faces(experiment: Experiment, styles: Sequence[str], images: int, queries: int) -> EpisodeSource:
    sizes = {"train_shots": images, "evaluation_test_shots": queries}
    source = experiment.changed({"data": {"test_faces": list(styles), **sizes}}).source("test")
    assert isinstance(source, EpisodeSource)
    return source


def _designs(images: int, *designs: str) -> Source:
    """Episodes of emoji in some designs, each example of a class in another; without any, in those that
    meta-training knows."""
    return lambda experiment: experiment.changed(
        {"data": {"test_faces": list(designs) or _known(experiment), "train_shots": images}}
    ).source("test")


def _known(experiment: Experiment) -> list[str]:
    assert isinstance(experiment.data, EncodedFeatures)
    return list(experiment.data.faces)


def _seen(experiment: Experiment) -> Episodes:
    return experiment.source("test")


def _omniglot(experiment: Experiment) -> Episodes:
    """Drawings as large as the images of meta-training, their ink as bright."""
    data = experiment.data
    drawings = Images(
        tasks=data.tasks,
        train_shots=data.train_shots,
        evaluation_test_shots=data.evaluation_test_shots,
        set="omniglot-small1",
        root=str(omniglot_folder()),
        side=data.input_shape[-1],
        mode="L",
    )
    return dataclasses.replace(experiment, data=drawings).source("test")


_IMAGES, _VIEWS = "5 images", "5 views of 2 images"
_PAIR, _ONE = "2 images", "1 image"
_MONOCHROME = ("fluent-emoji-high-contrast", "emojione-monotone")

PARTS: Mapping[str, Part] = {
    FACES: Part(
        data="hanzi21-features",
        title="features",
        caption=(
            "on frozen features. There are 8 print faces, but 3 to 5 of each other style: those are asked of "
            "together as in meta-training, with 5 images of a class and 3 queries, and one by one with 2 "
            "images, whose jittered views make 5 examples, and a query of a third."
        ),
        domains=(
            Domain("print", _IMAGES, _images("ming", "gothic")),
            Domain("all others", _IMAGES, _images("brush", "hand", "display")),
            Domain("print", _VIEWS, _views("ming", "gothic")),
            Domain("brush", _VIEWS, _views("brush")),
            Domain("hand", _VIEWS, _views("hand")),
            Domain("display", _VIEWS, _views("display")),
        ),
    ),
    DESIGNS: Part(
        data="features",
        title="emoji",
        caption=(
            "on frozen features of emoji. Two images of a class are read and a third is asked, of the four "
            "designs that learners know, or of the four held out; or one is read and another asked, of the "
            "known ones or of the two that are black and white."
        ),
        domains=(
            Domain("known designs", _PAIR, _designs(2)),
            Domain("held out", _PAIR, _designs(2, "emojione", "fxemoji", *_MONOCHROME)),
            Domain("known designs", _ONE, _designs(1)),
            Domain("black and white", _ONE, _designs(1, *_MONOCHROME)),
        ),
    ),
    PIXELS: Part(
        data="hanzi21",
        title="pixels",
        caption="on pixels: unseen characters of hanzi21, and the 41 of `omniglot-small1`'s meta-test.",
        domains=(Domain("hanzi21", _IMAGES, _seen), Domain("Omniglot", _IMAGES, _omniglot)),
    ),
}
"""By sweep. Of domains with the same kind of stream the first is that of meta-training."""


def sources(experiment: Experiment, scale: Scale) -> dict[str, Episodes]:
    """Of the episodes that a learner is asked, by the names of the conditions.

    Args:
        experiment: Of the learner.
        scale: Of the study.
    """
    part = next(part for part in PARTS.values() if part.data == experiment.data.kind)
    return {domain.condition: domain.source(experiment) for domain in scale.some(part.domains)}
