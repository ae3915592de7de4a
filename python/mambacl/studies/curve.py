"""Scores along something that is varied: as answers, as a table, and as a figure of lines with bands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from mambacl.episodes import Episodes
from mambacl.evaluation import Scores, evaluate_predictor
from mambacl.plots.lines import line_style
from mambacl.report.markdown import table
from mambacl.report.measuring import CLASS_YARDSTICKS
from mambacl.settings import Settings
from mambacl.studies.study import Told, answers_by_learner
from mambacl.studies.summary import Summary


@dataclass(frozen=True)
class Point(Settings):
    """A score at one value.

    Attributes:
        at: The value of what is varied.
        mean: Over episodes.
        interval: Half its 95 % interval over episodes, for this one model.
    """

    at: float
    mean: float
    interval: float

    @classmethod
    def of(cls, at: float, scores: Scores) -> Point:
        """From scores of episodes."""
        return cls(at, *scores.rounded())


@dataclass(frozen=True)
class Curve(Settings):
    """Scores along what is varied."""

    points: tuple[Point, ...]


def yardstick_curves(
    values: Sequence[float], source: Callable[[float], Episodes], episodes: int
) -> dict[str, Curve]:
    """The yardsticks of classes along what is varied.

    Args:
        values: Of it.
        source: Of the episodes at a value.
        episodes: At each.
    """
    return {
        name: Curve(tuple(Point.of(at, evaluate_predictor(yardstick, source(at), episodes)) for at in values))
        for name, yardstick in CLASS_YARDSTICKS.items()
    }


@dataclass(frozen=True)
class Line:
    """The curves of one learner: of its seeds, or of a yardstick.

    Attributes:
        name: Of the learner.
        seeds: A curve for each.
    """

    name: str
    seeds: tuple[Curve, ...]

    @property
    def at(self) -> list[float]:
        """The values of what is varied."""
        return [point.at for point in self.seeds[0].points]

    @property
    def summaries(self) -> list[Summary]:
        """Of the models, at each value."""
        by_value = zip(*(one.points for one in self.seeds), strict=True)
        return [Summary.of([(point.mean, point.interval) for point in points]) for points in by_value]


def lines(told: Iterable[Told[Curve]]) -> list[Line]:
    """The curves by learner, in the order told."""
    return [Line(name, tuple(curves)) for name, curves in answers_by_learner(told).items()]


def lines_table(each: Sequence[Line], varied: str) -> str:
    """A row for each line, a column for each value; what its cells say is `SPREAD`.

    Args:
        each: To tell.
        varied: What is.
    """
    rows = [[line.name, *map(str, line.summaries)] for line in each]
    return table([varied, *(f"{at:g}" for at in each[0].at)], rows)


def draw_lines(
    ax: Axes,
    each: Sequence[Line],
    *,
    xlabel: str,
    ylabel: str = "accuracy",
    trained_at: float | None = None,
    styles: Mapping[str, int] | None = None,
) -> Axes:
    """Draws lines with bands, told apart by style and marker, in colour or without.

    Args:
        ax: To draw on.
        each: To draw.
        xlabel: What is varied, with its unit.
        ylabel: What is measured.
        trained_at: The value in meta-training, drawn as a vertical line; None for none.
        styles: Number of the style of a line by its name, so that two axes agree; by default in order.
    """
    for number, line in enumerate(each):
        number = number if styles is None else styles[line.name]
        summaries = line.summaries
        means = [one.mean for one in summaries]
        (drawn,) = ax.plot(line.at, means, label=line.name, markersize=4, **line_style(number))
        low, high = [one.low for one in summaries], [one.high for one in summaries]
        ax.fill_between(line.at, low, high, color=drawn.get_color(), alpha=0.15)
    if trained_at is not None:
        ax.axvline(trained_at, color="black", linestyle=":", linewidth=0.8)
        ax.annotate(" trained", (trained_at, 1.0), xycoords=("data", "axes fraction"), va="top", fontsize=7)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=7)
    return ax
