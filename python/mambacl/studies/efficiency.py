"""Efficiency: what learners cost in parameters, memory and time, and how that grows with the stream."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mambacl.config import VectorEncoder
from mambacl.experiments.data import Hanzi21Features
from mambacl.experiments.experiment import Experiment
from mambacl.experiments.files import load
from mambacl.plots.lines import line_style
from mambacl.report.markdown import table
from mambacl.studies.costs import Cost, Mark, Timed, costs
from mambacl.studies.scale import Scale
from mambacl.studies.sequence_learners import SEQUENCE, UNGUIDED
from mambacl.studies.study import Report, Study, Told
from mambacl.sweeps import read_sweep
from mambacl.sweeps.files import sweep_file

_TASKS = (0, 10, 20, 50, 100, 200, 500)
_TASKS_TO_TRY = (0, 10, 20)

_MAMBA, _TRANSFORMER = "glyphs-20-mambacl-full", "glyphs-20-transformer-full"
_FROM_FEATURES = " from features"
_REPORTED = {_MAMBA: (5.4e6, 858.0), _TRANSFORMER: (9.2e6, 325.0)}
"""Parameters, and episodes a second at inference (arXiv:2412.00776, by third parties)."""

_KEPT_UNGUIDED = ("mamba-unguided", "transformer-unguided")
"""What the regulariser costs in training shows beside these."""


class Efficiency(Study[Cost]):
    """Study 8."""

    name = "efficiency"
    question = (
        "What do learners cost: how many parameters, how large a state, how long to train, to read an "
        "example and to answer a query, and how does that grow with the stream? Untrained learners of the "
        "sizes that the other studies train (the numbers do not depend on training), and Mamba and the "
        "Transformer at the literature's sizes."
    )
    reported = (
        "MambaCL has 5.4 M parameters, the Transformer 9.2 M; at inference MambaCL does 858 episodes a "
        "second, the Transformer 325, on hardware not known to us (reported)."
    )
    sweeps = ()
    answer = Cost

    def untrained(self) -> Mapping[str, Experiment]:
        """The rows of `sequence-learners`; the literature's, with their image encoders and on features."""
        rows = read_sweep(sweep_file("sequence-learners")).rows
        learners = {
            row.name: next(iter(row.experiments.values()))
            for row in rows
            if not row.name.endswith(UNGUIDED) or row.name in _KEPT_UNGUIDED
        }
        for name in _REPORTED:
            learners[name] = load(name)
            learners[name + _FROM_FEATURES] = _from_features(load(name))
        return learners

    def ask_untrained(self, experiments: Mapping[str, Experiment], scale: Scale) -> Mapping[str, Cost]:
        """On the CPU and, where there is one, on the GPU."""
        large = {name: one for name, one in experiments.items() if _is_large(name)}
        small = {name: one for name, one in experiments.items() if not _is_large(name)}
        found: dict[str, Cost] = {}
        for kind in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
            device = torch.device(kind)
            timed = Timed(turns=1, singles=3, episodes=2) if scale.fast else Timed(11, 51, 20)
            tasks = _TASKS_TO_TRY if scale.fast else _TASKS
            measured = costs(small, timed, device, training=True, tasks=tasks)
            timed = Timed(turns=1, singles=0, episodes=1) if scale.fast else Timed(7, 0, 4)
            measured |= costs(large, timed, device)
            behind = "" if kind == "cpu" else f" on {kind}"
            found |= {f"{name}{behind}": cost for name, cost in measured.items()}
        return found

    def report(self, told: Sequence[Told[Cost]]) -> Report:
        """State and time along the stream; tables of the costs, and of the literature's sizes."""
        order = list(self.untrained())
        on = {device: _of(told, device, order) for device in ("cpu", "cuda")}
        figures: dict[str, Figure] = {}
        tables: dict[str, str] = {}
        for device, found in on.items():
            if not found:
                continue
            small = {name: cost for name, cost in found.items() if cost.marks}
            behind = "" if device == "cpu" else f"-{device}"
            if device == "cpu":  # a state is as large anywhere
                figures["state"] = _along(
                    small, {"state of one stream, bytes": lambda mark: mark.state_bytes}
                )
            figures[f"time{behind}"] = _along(
                small,
                {
                    "reading one example, ms": lambda mark: 1e3 * mark.observe,
                    "answering one query, ms": lambda mark: (
                        None if mark.predict is None else 1e3 * mark.predict
                    ),
                },
            )
            where = _where(next(iter(found.values())))
            tables[f"What learners cost, {where}. {_small_caption(small)}"] = _small_table(small)
            large = {name: cost for name, cost in found.items() if _is_large(name)}
            if large:
                episodes = next(iter(large.values())).episodes
                tables[
                    f"At the literature's sizes, {where}, {episodes} at a time: episodes of 20 tasks x 5 "
                    "shots, 100 examples and 100 queries, on pixels with the image encoder, and on "
                    "features without one. Ratios are Mamba's episodes a second over the Transformer's."
                ] = _large_table(large)
        return Report(figures, tables)


def _from_features(experiment: Experiment) -> Experiment:
    """The same on features that a frozen encoder has made."""
    data = Hanzi21Features(
        tasks=experiment.data.tasks,
        train_shots=experiment.data.train_shots,
        test_shots=experiment.data.test_shots,
    )
    model = dataclasses.replace(experiment.model, encoder=VectorEncoder(data.input_shape[0]))
    return dataclasses.replace(experiment, name=experiment.name + "-features", model=model, data=data)


def _is_large(name: str) -> bool:
    return name.startswith((_MAMBA, _TRANSFORMER))


def _of(told: Sequence[Told[Cost]], device: str, order: Sequence[str]) -> dict[str, Cost]:
    """What was measured on a device, by the learner's name, in an order."""
    found = {
        one.learner.removesuffix(f" on {device}"): one.answer for one in told if one.answer.device == device
    }
    return {name: found[name] for name in order if name in found}


def _where(cost: Cost) -> str:
    if cost.device != "cpu":
        return f"on {cost.device}"
    return f"on a CPU ({cost.simd}, {cost.threads} thread{'s' if cost.threads > 1 else ''})"


def _along(costs: Mapping[str, Cost], values: Mapping[str, Callable[[Mark], float | None]]) -> Figure:
    """A row of axes for each value, sequence learners beside others."""
    parts = {
        "sequence learners": {name: cost for name, cost in costs.items() if name in SEQUENCE},
        "other learners": {
            name: cost
            for name, cost in costs.items()
            if name not in SEQUENCE and not name.endswith(UNGUIDED)  # which cost the same along a stream
        },
    }
    figure, axes = plt.subplots(
        len(values), 2, figsize=(11, 3.9 * len(values)), sharey="row", squeeze=False, layout="constrained"
    )
    for row, (label, value) in zip(axes, values.items(), strict=True):
        for ax, (title, part) in zip(row, parts.items(), strict=True):
            _draw(ax, part, value)
            ax.set(title=title, xlabel="tasks read, 5 examples each", ylabel=label, yscale="log")
    return figure


def _draw(ax: Axes, costs: Mapping[str, Cost], value: Callable[[Mark], float | None]) -> None:
    ticks: list[int] = []
    for number, (name, cost) in enumerate(costs.items()):
        points = [(mark.tasks, value(mark)) for mark in cost.marks if value(mark) is not None]
        (line,) = ax.plot(*zip(*points, strict=True), label=name, **line_style(number))
        line.set(markersize=max(3, 9 - number), fillstyle="none")  # of lines on one another each shows
        ticks = [mark.tasks for mark in cost.marks]
    ax.set_xscale("symlog", linthresh=10)  # which has a 0
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.minorticks_off()
    ax.grid(alpha=0.3)
    if costs:
        ax.legend(fontsize=7)


def _small_caption(costs: Mapping[str, Cost]) -> str:
    first = next(iter(costs.values()))
    return (
        f"Medians of learners timed in turns; episodes of 5 tasks x 5 shots, {first.episodes} at a time at "
        "inference, with queries; single examples and queries through Python, at the end of a stream of so "
        "many tasks. States are of one stream, codebook included."
    )


def _small_table(costs: Mapping[str, Cost]) -> str:
    marks = next(iter(costs.values())).marks
    low, high = marks[1], marks[-1]
    headings = (
        "learner",
        "parameters",
        "training, episodes/s",
        "inference, episodes/s",
        *(f"state, bytes, {mark.tasks} tasks" for mark in (marks[0], low, high)),
        *(f"one example, ms, {mark.tasks} tasks" for mark in (low, high)),
        *(f"one query, ms, {mark.tasks} tasks" for mark in (low, high)),
    )
    rows: list[list[str]] = []
    for name, cost in costs.items():
        first, near, far = cost.marks[0], cost.marks[1], cost.marks[-1]
        rows.append(
            [
                name,
                f"{cost.parameters:,}",
                "" if cost.training is None else f"{cost.training:,.0f}",
                f"{cost.inference:,.0f}",
                *(f"{mark.state_bytes:,}" for mark in (first, near, far)),
                *(f"{1e3 * mark.observe:.3f}" for mark in (near, far)),
                *("" if mark.predict is None else f"{1e3 * mark.predict:.3f}" for mark in (near, far)),
            ]
        )
    return table(headings, rows)


def _large_table(costs: Mapping[str, Cost]) -> str:
    headings = ("learner", "parameters", "without encoder", "episodes/s", "ratio", "reported")
    rows: list[list[str]] = []
    for name, cost in costs.items():
        plain = name.removesuffix(_FROM_FEATURES)
        millions, speed = _REPORTED[plain]
        other = costs.get(name.replace(_MAMBA, _TRANSFORMER))
        is_mamba = plain == _MAMBA
        ratio = f"{cost.inference / other.inference:.2f}" if is_mamba and other is not None else ""
        reported_ratio = speed / _REPORTED[_TRANSFORMER][1]
        told = f"{millions / 1e6:.1f} M, {speed:.0f} episodes/s"
        rows.append(
            [
                name,
                f"{cost.parameters / 1e6:.2f} M",
                f"{cost.without_encoder / 1e6:.2f} M",
                f"{cost.inference:.2f}",
                ratio,
                f"{told}, ratio {reported_ratio:.2f}" if is_mamba else told,
            ]
        )
    return table(headings, rows)
