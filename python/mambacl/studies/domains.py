"""A shift of domain: faces and drawings unlike those of meta-training."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mambacl.episodes import Episodes, EpisodeSource
from mambacl.errors import DataError
from mambacl.experiments.data import EncodedFeatures, Images
from mambacl.experiments.experiment import Experiment
from mambacl.experiments.trained import Trained
from mambacl.report.markdown import table
from mambacl.studies.bars import draw_bars
from mambacl.studies.conditions import ByCondition, ask_class_yardsticks, ask_learner, summaries
from mambacl.studies.scale import Scale
from mambacl.studies.study import Report, Study, Told, answers_by_learner
from mambacl.studies.summary import SPREAD
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


class Domains(Study[ByCondition]):
    """Study 5."""

    name = "domains"
    question = (
        "What is left of a learner on inputs unlike those of meta-training? Frozen features: encoder and "
        "learners know print faces only, and are asked of unseen characters in print, brush, hand and "
        "display faces. Emoji: learners know four coloured designs, and are asked of unseen emoji in four "
        "others, two of which are black and white, one of these by a vendor whose coloured design they know. "
        "Pixels: learners know all typefaces of hanzi21, and are asked of characters that people drew, those "
        "of Omniglot. 5 classes."
    )
    reported = (
        "The paper has a study of shifts of domain, among others on DomainNet (reported); its numbers are "
        "not known to us, and our domains are others."
    )
    sweeps = (FACES, DESIGNS, PIXELS)
    answer = ByCondition

    def asks(self, sweep: str, learner: str) -> bool:
        """Learners of pixels only where Omniglot is.

        Raises:
            DataError: If the folder that the environment variable names is not there.
        """
        return sweep != PIXELS or omniglot_folder() is not None

    def ask(self, trained: Trained, scale: Scale) -> ByCondition:
        """Accuracy in each domain, on the same episodes for all learners of a sweep."""
        return ask_learner(trained.learner, _sources(trained.experiment, scale), scale.episodes)

    def ask_yardsticks(self, experiment: Experiment, scale: Scale) -> Mapping[str, ByCondition]:
        """The same of predictors without meta-training, on the features or the pixels."""
        return ask_class_yardsticks(_sources(experiment, scale), scale.episodes)

    def report(self, told: Sequence[Told[ByCondition]]) -> Report:
        """Bars, domains with as many shots beside one another; a table for each sweep."""
        by_sweep = {
            sweep: answers
            for sweep in self.sweeps
            if (answers := answers_by_learner(one for one in told if one.sweep == sweep))
        }
        tables: dict[str, str] = {}
        for sweep, answers in by_sweep.items():
            conditions = list(next(iter(answers.values()))[0].scores)
            rows = [[name, *summaries(each, conditions)] for name, each in answers.items()]
            text = [[str(cell) for cell in row] for row in rows]
            tables[f"Accuracy by domain, {PARTS[sweep].caption} {SPREAD}"] = table(
                ["learner", *conditions], text
            )
        experiment = next(one.outcome.experiment for one in told if one.outcome is not None)
        return Report(
            {"domains": _figure(by_sweep, 1 / experiment.data.tasks)},
            tables,
            notes=() if PIXELS in by_sweep else (_WITHOUT_OMNIGLOT,),
        )


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


def _designs(images: int, *vendors: str) -> Source:
    """Episodes of some vendors' emoji, each example of a class by another; by no vendor's name, of those that
    meta-training knows."""
    return lambda experiment: experiment.changed(
        {"data": {"test_faces": list(vendors) or _known(experiment), "train_shots": images}}
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


_WIDTH = 6
"""Domains in a row of the figure."""

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

_WITHOUT_OMNIGLOT = (
    f"Omniglot was not there, so learners of pixels are left out. With `{OMNIGLOT}` set to the folder of its "
    "`small 1` part (`mambacl data show omniglot-small1`) the same command asks them."
)


def _sources(experiment: Experiment, scale: Scale) -> dict[str, Episodes]:
    part = next(part for part in PARTS.values() if part.data == experiment.data.kind)
    return {domain.condition: domain.source(experiment) for domain in scale.some(part.domains)}


@dataclass(frozen=True)
class _Panel:
    """Domains beside one another."""

    sweep: str
    domains: tuple[Domain, ...]

    @property
    def title(self) -> str:
        return f"{PARTS[self.sweep].title}, {self.domains[0].stream}"


def _panels(by_sweep: Mapping[str, Mapping[str, Sequence[ByCondition]]]) -> list[_Panel]:
    """Of the domains that were asked."""
    panels: list[_Panel] = []
    for sweep, answers in by_sweep.items():
        asked = next(iter(answers.values()))[0].scores
        domains = [domain for domain in PARTS[sweep].domains if domain.condition in asked]
        for stream in dict.fromkeys(domain.stream for domain in domains):
            panels.append(_Panel(sweep, tuple(domain for domain in domains if domain.stream == stream)))
    return panels


def _figure(by_sweep: Mapping[str, Mapping[str, Sequence[ByCondition]]], chance: float) -> Figure:
    rows = _rows(_panels(by_sweep))
    names = dict.fromkeys(name for answers in by_sweep.values() for name in answers)
    styles = {name: number for number, name in enumerate(names)}
    figure = plt.figure(figsize=(3 + 1.9 * _WIDTH, 0.6 + 3.6 * len(rows)), layout="constrained")
    shown: dict[str, Artist] = {}
    for part, row in zip(figure.subfigures(len(rows), 1, squeeze=False).flat, rows, strict=True):
        widths = [len(panel.domains) for panel in row]
        axes = part.subplots(1, len(row), width_ratios=widths, sharey=True, squeeze=False)
        for ax, panel in zip(axes.flat, row, strict=True):
            _draw(ax, panel, by_sweep[panel.sweep], styles, chance)
            shown |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
        axes[0, 0].set(ylabel="accuracy")
    figure.legend(
        list(shown.values()), list(shown), loc="outside right upper", handlelength=2.5, handleheight=1.4
    )
    return figure


def _rows(panels: Sequence[_Panel]) -> list[list[_Panel]]:
    """Panels beside one another as long as they fit."""
    rows: list[list[_Panel]] = []
    for panel in panels:
        if rows and sum(len(each.domains) for each in (*rows[-1], panel)) <= _WIDTH:
            rows[-1].append(panel)
        else:
            rows.append([panel])
    return rows


def _draw(
    ax: Axes,
    panel: _Panel,
    answers: Mapping[str, Sequence[ByCondition]],
    styles: Mapping[str, int],
    chance: float,
) -> None:
    conditions = [domain.condition for domain in panel.domains]
    bars = {name: summaries(each, conditions) for name, each in answers.items()}
    ax.axhline(chance, color="black", linewidth=0.8, linestyle=":", label="chance")
    draw_bars(ax, bars, [domain.name for domain in panel.domains], styles=styles)
    ax.set(title=panel.title, xlabel="domain of the test", ylim=(0, 1.02))
