"""A comparison as a table to print, and as JSON."""

from __future__ import annotations

from typing import Any

from mambacl.evaluation import Interval
from mambacl.report.comparison import LEVELS, Comparison, Group, Member

HEADINGS = ("seed", "accuracy", "at step", *(f"steps to {level}" for level in LEVELS), "steps", "minutes")


def table(comparison: Comparison) -> str:
    """A comparison as a table to print.

    Args:
        comparison: Of runs.

    Returns:
        Lines of text.
    """
    lines = [
        f"Accuracy in {comparison.evaluation}; ± is the 95 % interval over episodes for one model, and in",
        "the row of means that over seeds by Student's t. Steps are to a training accuracy averaged over",
        "50 steps.",
    ]
    for group in comparison.groups:
        rows = [HEADINGS, *(_row(member) for member in group.members), _means(group)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
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
    return {
        "evaluation": comparison.evaluation,
        "groups": [
            {
                "name": group.name,
                "accuracy": interval_as_json(group.accuracy),
                "runs": [
                    {
                        "path": str(member.path),
                        "seed": member.seed,
                        "accuracy": member.measured.scores.mean if member.measured else None,
                        "interval_over_episodes": member.measured.scores.interval
                        if member.measured
                        else None,
                        "steps_to": dict(zip(map(str, LEVELS), member.steps_to, strict=True)),
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


def _row(member: Member) -> tuple[str, ...]:
    accuracy = "-" if member.measured is None else str(member.measured.scores)
    reached = ("-" if step is None else f"{step:,}" for step in member.steps_to)
    at = "-" if member.measured is None else f"{member.measured.step:,}"
    steps, minutes = f"{len(member.history.steps):,}", f"{member.history.seconds / 60:.1f}"
    return (str(member.seed), accuracy, at, *reached, steps, minutes)


def _means(group: Group) -> tuple[str, ...]:
    accuracy = group.accuracy
    half_width = None if accuracy is None else accuracy.half_width
    told = "-" if accuracy is None else f"{accuracy.mean:.3f}"
    told += "" if half_width is None else f" ± {half_width:.3f}"
    medians = [group.median_steps_to(level) for level in range(len(LEVELS))]
    return ("all", told, "", *("-" if step is None else f"{step:,g}" for step in medians), "", "")


def signed(difference: Interval) -> str:
    """A difference with its sign, its width and what it is over."""
    spread = "" if difference.half_width is None else f" ± {difference.half_width:.3f}"
    return f"{difference.mean:+.3f}{spread} ({difference.scope})"


def interval_as_json(interval: Interval | None) -> dict[str, Any] | None:
    """An interval as values that JSON has."""
    if interval is None:
        return None
    return {"mean": interval.mean, "half_width": interval.half_width, "scope": interval.scope}
