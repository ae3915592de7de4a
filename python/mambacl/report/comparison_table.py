"""A comparison as a table to print, and as JSON."""

from __future__ import annotations

from typing import Any

from mambacl.evaluation import Interval, Metric
from mambacl.report.comparison import LEVELS, Comparison, Group, Member


def table(comparison: Comparison) -> str:
    """A comparison as a table to print.

    Args:
        comparison: Of runs.

    Returns:
        Lines of text.
    """
    metric = comparison.metric
    levels = _levels(metric)
    note = "steps are to a training accuracy averaged over 50 steps." if levels else "lower is better."
    lines = [
        f"{metric.name.capitalize()} in {comparison.evaluation}; {note}",
        "± is the 95 % interval: of a seed over episodes, for one model; of all over seeds, by Student's t.",
    ]
    headings = (
        *("seed", metric.name, "at step"),
        *(f"steps to {LEVELS[level]}" for level in levels),
        *("steps", "minutes"),
    )
    for group in comparison.groups:
        rows = [headings, *(_row(member, levels) for member in group.members), _means(group, levels)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(headings))]
        lines += ["", group.name]
        lines += [
            "  " + "  ".join(f"{cell:>{w}}" for cell, w in zip(row, widths, strict=True)) for row in rows
        ]
    for name, difference in comparison.differences.items():
        told = (
            "needs both evaluated, with the same seeds and on the same episodes"
            if difference is None
            else signed(difference)
        )
        lines += ["", f"{comparison.groups[0].name} minus {name}: {told}"]
    missing = [
        str(member.path) for group in comparison.groups for member in group.members if not member.measured
    ]
    if missing:
        lines += ["", f"Without {comparison.evaluation}, see `mambacl evaluate`: {', '.join(missing)}"]
    return "\n".join(lines)


def as_json(comparison: Comparison) -> dict[str, Any]:
    """A comparison as values that JSON has."""
    score, levels = comparison.metric.key, _levels(comparison.metric)
    return {
        "evaluation": comparison.evaluation,
        "groups": [
            {
                "name": group.name,
                score: interval_as_json(group.score),
                "runs": [
                    {
                        "path": str(member.path),
                        "seed": member.seed,
                        score: member.measured.scores.mean if member.measured else None,
                        "interval_over_episodes": member.measured.scores.interval
                        if member.measured
                        else None,
                        "steps_to": {str(LEVELS[level]): member.steps_to[level] for level in levels},
                        "steps": len(member.history.steps),
                        "seconds": member.history.seconds,
                    }
                    for member in group.members
                ],
            }
            for group in comparison.groups
        ],
        "differences": {name: interval_as_json(value) for name, value in comparison.differences.items()},
    }


def _levels(metric: Metric) -> range:
    """The places of the levels of training accuracy; none where it is no accuracy that is measured."""
    return range(len(LEVELS) if metric.higher_is_better else 0)


def _row(member: Member, levels: range) -> tuple[str, ...]:
    score = "-" if member.measured is None else str(member.measured.scores)
    steps_to = [member.steps_to[level] for level in levels]
    reached = ("-" if step is None else f"{step:,}" for step in steps_to)
    at = "-" if member.measured is None else f"{member.measured.step:,}"
    steps, minutes = f"{len(member.history.steps):,}", f"{member.history.seconds / 60:.1f}"
    return (str(member.seed), score, at, *reached, steps, minutes)


def _means(group: Group, levels: range) -> tuple[str, ...]:
    told = "-" if group.score is None else group.score.told()
    medians = [group.median_steps_to(level) for level in levels]
    return ("all", told, "", *("-" if step is None else f"{step:,g}" for step in medians), "", "")


def signed(difference: Interval) -> str:
    """A difference with its sign, its width and what it is over."""
    return f"{difference.told('+.3f')} ({difference.scope})"


def interval_as_json(interval: Interval | None) -> dict[str, Any] | None:
    """An interval as values that JSON has."""
    if interval is None:
        return None
    return {"mean": interval.mean, "half_width": interval.half_width, "scope": interval.scope}
