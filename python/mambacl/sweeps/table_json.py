"""The tables of a sweep as values that JSON has."""

from __future__ import annotations

import math
from typing import Any

from mambacl.report.comparison_table import interval_as_json
from mambacl.sweeps.sheet import Sheet
from mambacl.sweeps.standings import (
    Standing,
    against_first,
    minutes_of,
    score_at,
    search_cost,
    yardsticks,
)


def as_json(sheet: Sheet) -> dict[str, Any]:
    """The tables as values that JSON has."""
    offline = sheet.offline
    return {
        "name": sheet.sweep.name,
        "learners": [_learner(sheet, one) for one in sheet.each],
        "first_minutes": sheet.minutes,
        "first_minus": {
            name: None
            if one.interval is None
            else {**(interval_as_json(one.interval) or {}), "seeds": one.seeds, "diverged": one.diverged}
            for name, one in against_first(sheet.each).items()
        },
        "yardsticks": [
            {"episodes_of": one.learner, "episodes": one.episodes, "scores": one.scores}
            for one in yardsticks(sheet.each)
        ],
        "offline_training": None
        if offline is None
        else {
            "encoder_of": offline.learner,
            "episodes": len(offline.accuracy),
            "accuracy": offline.scores.mean,
            "interval_over_episodes": offline.scores.interval,
        },
    }


def _learner(sheet: Sheet, one: Standing) -> dict[str, Any]:
    key, minutes = one.row.metric.key, sheet.minutes
    return {
        "name": one.row.name,
        "chosen": None if one.chosen is None else dict(one.chosen),
        "chosen_at_edge": one.at_edge,
        key: interval_as_json(one.score),
        "on_plateau": one.on_plateau,
        f"{key}_at_first_minutes": None
        if minutes is None
        else interval_as_json(score_at(one, minutes, sheet.pace)),
        **_search(sheet, one),
        "runs": [
            {
                "seed": seed,
                key: outcome.test.scores.mean if outcome.test else None,
                "interval_over_episodes": outcome.test.scores.interval if outcome.test else None,
                "diverged": outcome.diverged,
                "on_plateau": outcome.on_plateau,
                "parameters": outcome.parameters,
                "state_bytes": outcome.state_bytes,
                "training_episodes_per_second": sheet.training_rate(one, outcome),
                "inference_episodes_per_second": sheet.inference_rate(one, outcome),
                "steps": outcome.steps,
                "minutes": minutes_of(one, outcome, sheet.pace),
                "threads": outcome.threads,
                "jobs": outcome.jobs,
            }
            for seed, outcome in one.members.items()
        ],
        "seeds_left": one.left,
    }


def _search(sheet: Sheet, one: Standing) -> dict[str, Any]:
    key, rungs = one.row.metric.key, one.rungs
    if rungs is None:
        return {
            "search": [{"values": dict(values), key: _finite(score)} for values, score in one.search.items()]
        }
    steps, minutes = search_cost(one, sheet.pace)
    return {
        "search": [
            {
                "values": dict(values),
                f"{key}_at_first_rung": _finite(rungs.first[values]),
                "kept": None if rungs.kept is None else values in rungs.kept,
                key: _finite(score),
            }
            for values, score in one.search.items()
        ],
        "search_steps": steps,
        "search_minutes": minutes,
    }


def _finite(score: float | None) -> float | None:
    """JSON has no infinity."""
    return None if score == math.inf else score
