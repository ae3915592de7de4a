"""The tables of a sweep to read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from mambacl.evaluation import ACCURACY, Interval, Scores
from mambacl.report.comparison_table import signed
from mambacl.report.markdown import table
from mambacl.sweeps.curves import CURVES, has_curves
from mambacl.sweeps.outcome import Outcome
from mambacl.sweeps.pace import Pace
from mambacl.sweeps.sheet import Sheet
from mambacl.sweeps.standings import (
    Difference,
    Standing,
    against_first,
    cut_short,
    minutes_of,
    score_at,
    search_cost,
    yardsticks,
)
from mambacl.sweeps.sweep import Values

_ACCURACY = """\
Accuracy is the share of test queries whose largest logit among the labels observed is right, of
each run's best checkpoint on meta-validation"""
_ERROR = """\
The {} is a mean over the queries of test episodes, of each run's best checkpoint on
meta-validation; lower is better. A run has not left the plateau if its error is not more than 2
standard errors below that of answering with the mean of the stream's targets"""
_NOTES = """\
{}; ± is half the 95 % interval, by Student's t over
seeds, or over episodes where it says so. The state is what is kept of one stream. Episodes a second
are those of training, with the drawing of episodes, and those of reading and answering alone."""

_OWN_TIMES = "episodes a second and minutes are of the runs themselves, meta-validations included in minutes"


def markdown(sheet: Sheet) -> str:
    """The tables to read."""
    sweep, each, metric, minutes = sheet.sweep, sheet.each, sheet.metric, sheet.minutes
    notes = _NOTES.format(_ACCURACY if metric == ACCURACY else _ERROR.format(metric.name))
    parts = [
        f"# {sweep.name}",
        sweep.purpose,
        f"{notes} {_times(sheet)}",
        _main(sheet),
        *_conditions(each),
    ]
    if minutes is not None and len(each) > 1:
        bound = "a lower bound" if metric.higher_is_better else "an upper bound"
        parts += [
            f"At equal minutes, {minutes:.2f}, those of {each[0].row.name}: {metric.name} on meta-validation "
            "of the best checkpoint by then. A learner that is quicker has its full result; one that takes "
            "longer was cut short on a schedule made for all its steps, so that its number is "
            f"{bound} of what these minutes can give. Seeds that diverged take no part.",
            table(("learner", metric.name, "training"), [_by_then(one, minutes, sheet.pace) for one in each]),
        ]
    differences = against_first(each)
    if differences:
        parts += [
            f"{each[0].row.name} minus the others on identical test episodes, over the seeds that both have:",
            table(
                ("other", "difference"),
                [(name, _difference(one)) for name, one in differences.items()],
            ),
        ]
    parts += _search(sheet)
    if has_curves(sheet):
        parts.append(f"![The {metric.name} on meta-validation against steps and minutes.]({CURVES})")
    return "\n\n".join(part for part in parts if part) + "\n"


def _search(sheet: Sheet) -> list[str]:
    """What was tried."""
    each, metric = sheet.each, sheet.metric
    halving = next((one.row.halving for one in each if one.row.halving is not None), None)
    if not any(one.search for one in each):
        return []
    if halving is None:
        rows = [(one.row.name, _values(v), _score(score)) for one in each for v, score in one.search.items()]
        return [
            f"The search, best {metric.name} on meta-validation:",
            table(("learner", "values", metric.name), rows),
        ]
    rungs = [(one.row.name, *_rung(one, values)) for one in each for values in one.search]
    costs = [(one.row.name, *_cost(one, sheet.pace)) for one in each]
    return [
        f"The search, {metric.name} on meta-validation, by successive halving: at the end of the first rung, "
        f"{halving.first:.0%} of the steps on the learning-rate schedule of all of them, and the best by the "
        f"end of all steps. The best {halving.keep} of the first rung went on; the best of these at the end "
        "is chosen. While the best of the first rung lay at an edge of the values tried, the next value "
        f"beyond, by the ratio there, was tried too, at most {halving.extend} on each side.",
        table(("learner", "values", "first rung", "all steps"), rungs),
        "What the search cost, the chosen run included. At an edge, a better value may lie beyond.",
        table(("learner", "values tried", "chosen", "at an edge", "steps", "minutes"), costs),
    ]


def _rung(one: Standing, values: Values) -> tuple[str, str, str]:
    """What a search by halving found of some values."""
    assert one.rungs is not None
    first, kept = one.rungs.first[values], one.rungs.kept
    end = _score(one.search[values])
    if end == "-" and kept is not None and values not in kept:
        end = "stopped"
    beyond = " (beyond the grid)" if values in one.row.beyond else ""
    return _values(values) + beyond, _score(first), end


def _cost(one: Standing, pace: Pace | None) -> tuple[str, ...]:
    steps, minutes = search_cost(one, pace)
    edge = "-" if one.chosen is None else ", ".join(one.at_edge.values()) or "no"
    chosen = "-" if one.chosen is None else _values(one.chosen)
    return f"{len(one.search)}", chosen, edge, f"{steps:,}", f"{minutes:.1f}"


def _main(sheet: Sheet) -> str:
    headings = (
        "learner",
        sheet.metric.name,
        "each seed",
        "parameters",
        "state, bytes: 20 tasks",
        "100 tasks",
        "episodes/s: training",
        "inference",
        "steps",
        "minutes",
        "chosen",
    )
    rows = [_row(sheet, one) for one in sheet.each]
    beside = _yardsticks(sheet.each)
    if sheet.offline is not None:
        beside["offline training"] = _of_episodes(sheet.offline.scores)
    for name, told in beside.items():
        rows.append((name, told, *("" for _ in headings[2:])))
    return table(headings, rows)


def _row(sheet: Sheet, one: Standing) -> tuple[str, ...]:
    members = list(one.members.values())

    def span(value: Callable[[Outcome], float], form: str) -> str:
        """Of all seeds: one number, or the lowest and the highest."""
        told = list(dict.fromkeys(format(value, form) for value in sorted(map(value, members))))
        return " to ".join([told[0], *told[1:][-1:]]) if told else "-"

    own = " (own)" if members and sheet.untimed(one) else ""
    return (
        one.row.name,
        _score_of(one),
        ", ".join([*map(_seed, members), *(f"seed {seed} is left" for seed in one.left)]),
        span(lambda run: run.parameters, ",d"),
        span(lambda run: run.state_bytes["20"], ",d"),
        span(lambda run: run.state_bytes["100"], ",d"),
        span(lambda run: sheet.training_rate(one, run), ".0f") + own,
        span(lambda run: sheet.inference_rate(one, run), ".0f") + own,
        span(lambda run: run.steps, ",d"),
        span(lambda run: minutes_of(one, run, sheet.pace), ".1f") + own,
        _chosen(one),
    )


def _score_of(one: Standing) -> str:
    told = _told(one.score)
    if one.on_plateau:
        told = f"did not leave the plateau in {_steps(one.members.values())} steps: {told}"
    return told + _diverged(one)


def _by_then(one: Standing, minutes: float, pace: Pace | None) -> tuple[str, str, str]:
    """A line of the table at equal minutes."""
    score = score_at(one, minutes, pace)
    told = "no meta-validation by then" if score is None and one.tested else _told(score)
    how = "cut short" if cut_short(one, minutes, pace) else "all steps"
    return one.row.name, told + _diverged(one), how if one.tested else "-"


def _diverged(one: Standing) -> str:
    """How many seeds did, to follow a score; nothing if none."""
    return f"; {one.diverged} of {len(one.members)} seeds diverged" if one.diverged else ""


def _difference(one: Difference) -> str:
    told = "-" if one.interval is None else signed(one.interval)
    return f"{told}; {one.seeds} of {one.planned} seeds; {one.diverged} diverged" if one.diverged else told


def _seed(run: Outcome) -> str:
    if run.test is None:
        return f"diverged after {run.steps:,} steps"
    told = f"{run.test.scores.mean:.3f}"
    return f"{told} (did not leave the plateau in {run.steps:,} steps)" if run.on_plateau else told


def _steps(runs: Iterable[Outcome]) -> str:
    return f"{max(run.steps for run in runs):,}"


def _yardsticks(each: Sequence[Standing]) -> dict[str, str]:
    """On the episodes of the learners, which are named where learners were asked different ones."""
    found = yardsticks(each)
    return {
        name if len(found) == 1 else f"{name}, on the episodes of {one.learner}": (
            f"{mean:.3f} ± {interval:.3f} (over {one.episodes} episodes)"
        )
        for one in found
        for name, (mean, interval) in one.scores.items()
    }


def _of_episodes(scores: Scores) -> str:
    return f"{scores} (over {len(scores.values)} episodes)"


def _conditions(each: Sequence[Standing]) -> list[str]:
    """How cells were trained, since minutes depend on it."""
    runs = [run for one in each for run in one.members.values()]
    ways = dict.fromkeys(
        f"{run.threads} threads, {run.jobs} cells beside one another"
        + "".join(f", {name} {version}" for name, version in run.versions.items())
        for run in runs
    )
    return [f"Trained with {'; or '.join(ways)}."] if ways else []


def _times(sheet: Sheet) -> str:
    """What seconds are of."""
    pace = sheet.pace
    if pace is None:
        return f"{_OWN_TIMES[0].upper()}{_OWN_TIMES[1:]}."
    timed = (
        f"They were timed for all learners in turns, {pace.turns} of them, on {pace.threads} threads; "
        "minutes are steps at that pace, without meta-validation."
    )
    return f"{timed} Where `own` is said, {_OWN_TIMES}." if any(map(sheet.untimed, sheet.each)) else timed


def _values(values: Values) -> str:
    return ", ".join(f"{place.rpartition('.')[2]} {value}" for place, value in values)


def _chosen(one: Standing) -> str:
    """The values chosen, each with a word where it is the smallest or largest of those searched."""
    if one.chosen is None:
        return "-"
    edges = {place: f" (the {edge} tried)" for place, edge in one.at_edge.items()}
    return ", ".join(_values((pair,)) + edges.get(pair[0], "") for pair in one.chosen)


def _told(interval: Interval | None) -> str:
    return "-" if interval is None else str(interval)


def _score(score: float | None) -> str:
    if score is None:
        return "-"
    return "diverged" if score < 0 or score == math.inf else f"{score:.3f}"
