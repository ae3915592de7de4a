"""Accuracies by domain, as groups of bars: a panel for each kind of stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib import pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mambacl.studies.bars import draw_bars
from mambacl.studies.conditions import ByCondition, summaries
from mambacl.studies.domain_parts import PARTS, Domain

_WIDTH = 6
"""Domains in a row of the figure."""


@dataclass(frozen=True)
class _Panel:
    """Domains beside one another."""

    sweep: str
    domains: tuple[Domain, ...]

    @property
    def title(self) -> str:
        return f"{PARTS[self.sweep].title}, {self.domains[0].stream}"


def draw_domains(by_sweep: Mapping[str, Mapping[str, Sequence[ByCondition]]], chance: float) -> Figure:
    """Draws the panels, as many beside one another as fit.

    Args:
        by_sweep: Answers of the models of each learner, by sweep.
        chance: Accuracy of guessing, drawn as a line.
    """
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


def _panels(by_sweep: Mapping[str, Mapping[str, Sequence[ByCondition]]]) -> list[_Panel]:
    """Of the domains that were asked."""
    panels: list[_Panel] = []
    for sweep, answers in by_sweep.items():
        asked = next(iter(answers.values()))[0].scores
        domains = [domain for domain in PARTS[sweep].domains if domain.condition in asked]
        for stream in dict.fromkeys(domain.stream for domain in domains):
            panels.append(_Panel(sweep, tuple(domain for domain in domains if domain.stream == stream)))
    return panels


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
