"""How the learners of a sweep stand, as far as their outcomes tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mambacl.evaluation import Interval, over_seeds
from mambacl.report.comparison import difference
from mambacl.sweeps.grid import edges
from mambacl.sweeps.outcome import MeanAndInterval, OnTest, Outcome, VectorsOnTest
from mambacl.sweeps.pace import Pace
from mambacl.sweeps.plan import Outcomes, choice
from mambacl.sweeps.rungs import Rungs
from mambacl.sweeps.sweep import Row, Sweep, Values


@dataclass(frozen=True)
class Standing:
    """How one learner stands.

    Attributes:
        row: The learner.
        chosen: Of the values searched; None while they are not chosen.
        members: Complete outcomes by seed.
        search: The mean best score on meta-validation over the search's seeds, by the values tried; where one
            diverged with the metric's worst for it, None while a cell was not trained to the end.
        rungs: Of a search by successive halving; None of a full grid.
        searched: The outcomes of the search so far.
    """

    row: Row
    chosen: Values | None
    members: Mapping[int, Outcome]
    search: Mapping[Values, float | None]
    rungs: Rungs | None
    searched: Sequence[Outcome]

    @property
    def at_edge(self) -> dict[str, str]:
        """Which of the values chosen is the smallest or the largest of those tried, by its setting: a better
        one may lie beyond. Numbers alone have an order."""
        return edges(self.chosen or (), self.search)

    @property
    def tested(self) -> dict[int, OnTest | VectorsOnTest]:
        """Test answers by seed, of those that did not diverge."""
        return {seed: one.test for seed, one in self.members.items() if one.test is not None}

    @property
    def score(self) -> Interval | None:
        """On test episodes: over seeds by t, of a single one over episodes; None before any."""
        tested = list(self.tested.values())
        if len(tested) >= 2:
            return over_seeds([one.scores.mean for one in tested])
        if not tested:
            return None
        scores = tested[0].scores
        return Interval(scores.mean, scores.interval, f"over {len(scores.values)} episodes, 1 seed")

    @property
    def left(self) -> list[int]:
        """Seeds without an outcome."""
        return [seed for seed in self.row.seeds if seed not in self.members]

    @property
    def diverged(self) -> int:
        """Seeds whose training diverged."""
        return len(self.members) - len(self.tested)

    @property
    def on_plateau(self) -> bool:
        """Whether no seed has left the plateau."""
        return bool(self.members) and all(one.on_plateau for one in self.members.values())


def standings(sweep: Sweep, known: Outcomes) -> list[Standing]:
    """How each learner stands, in the order of the file."""
    return [_standing(row, known) for row in sweep.rows]


def _standing(row: Row, known: Outcomes) -> Standing:
    chosen = choice(row, known)
    cells = [] if chosen is None else row.final(chosen)
    members = {
        cell.seed: known[cell.name] for cell in cells if cell.name in known and known[cell.name].complete
    }
    rungs = None if row.halving is None else Rungs.of(row, row.halving, known)
    search: dict[Values, float | None] = {}
    searched: list[Outcome] = []
    for values in (row.experiments if rungs is None else rungs.first) if row.searched else ():
        tried = row.search(values)
        outcomes = [known[cell.name] for cell in tried if cell.name in known]
        steps = row.experiment(values).train.steps
        scores = [one.best_validation(row.metric) for one in outcomes if one.reached(steps)]
        search[values] = sum(scores) / len(scores) if len(scores) == len(tried) else None
        searched += outcomes
    return Standing(row, chosen, members, search, rungs, searched)


def seconds_at(standing: Standing, pace: Pace | None, step: int, seconds: float) -> float:
    """When a learner had done so many steps: at the pace it was timed at beside the others, or else the
    seconds its run took."""
    if pace is None or standing.row.name not in pace.step:
        return seconds
    return step * pace.step[standing.row.name]


def minutes_of(standing: Standing, outcome: Outcome, pace: Pace | None) -> float:
    """The minutes that a learner's training takes."""
    return seconds_at(standing, pace, outcome.steps, outcome.seconds) / 60


def curves(standing: Standing, pace: Pace | None) -> list[list[tuple[int, float, float]]]:
    """Step, minutes and score of each meta-validation, for each seed that did not diverge."""
    runs = [standing.members[seed] for seed in standing.tested]
    return [
        [
            (step, seconds_at(standing, pace, step, seconds) / 60, score)
            for step, score, _, seconds in run.validations
        ]
        for run in runs
    ]


def search_cost(standing: Standing, pace: Pace | None) -> tuple[int, float]:
    """The steps and the minutes that the search of a learner has trained for so far."""
    minutes = [minutes_of(standing, one, pace) for one in standing.searched]
    return sum(one.steps for one in standing.searched), sum(minutes)


def first_minutes(standing: Sequence[Standing], pace: Pace | None) -> float | None:
    """The minutes in which the first learner trained, its slowest seed of those that did not diverge; None
    before any is complete."""
    first = standing[0]
    return max((minutes_of(first, first.members[seed], pace) for seed in first.tested), default=None)


def cut_short(standing: Standing, minutes: float, pace: Pace | None) -> bool:
    """Whether a learner trained for longer than so many minutes, in any seed that did not diverge."""
    return any(minutes_of(standing, standing.members[seed], pace) > minutes for seed in standing.tested)


def score_at(standing: Standing, minutes: float, pace: Pace | None) -> Interval | None:
    """The score on meta-validation of the best checkpoint so many minutes after training began, over the
    seeds that did not diverge; all of a run's that trained no longer. None if a seed had no meta-validation
    by then.

    A learning rate that falls over all steps has not fallen yet in a run that is cut short: trained for these
    minutes on purpose it may do better."""
    reached: list[float] = []
    for seed in standing.tested:
        one = standing.members[seed]
        whole = minutes_of(standing, one, pace) <= minutes
        by_then = [
            score
            for step, score, _, seconds in one.validations
            if whole or seconds_at(standing, pace, step, seconds) <= 60 * minutes + 1e-9
        ]
        if not by_then:
            return None
        reached.append(standing.row.metric.best(by_then))
    return over_seeds(reached) if reached else None


@dataclass(frozen=True)
class Difference:
    """The first learner's score minus another's.

    Attributes:
        interval: Over the seeds that both have, on identical episodes; over episodes where that is one seed;
            None where there is none, or the episodes differ.
        seeds: That both have.
        planned: That both are to have.
        diverged: Of these, in which either diverged: the difference says nothing of them.
    """

    interval: Interval | None
    seeds: int
    planned: int
    diverged: int


def against_first(standing: Sequence[Standing]) -> dict[str, Difference]:
    """The first learner beside each other, by the other's name."""
    first = standing[0]
    return {other.row.name: _difference(first, other) for other in standing[1:]}


def _difference(first: Standing, other: Standing) -> Difference:
    planned = [seed for seed in first.row.seeds if seed in other.row.seeds]
    seeds = [seed for seed in planned if seed in first.tested and seed in other.tested]
    a, b = ({seed: each.tested[seed] for seed in seeds} for each in (first, other))
    interval = difference(a, b)
    lost = [
        seed for seed in planned if any(seed in one.members.keys() - one.tested for one in (first, other))
    ]
    return Difference(interval, len(seeds), len(planned), len(lost))


@dataclass(frozen=True)
class Yardsticks:
    """What the yardsticks come to on the same test episodes.

    Attributes:
        learner: The first row that was asked them.
        episodes: How many.
        scores: By yardstick, from any run that has it: those of an older version lack the newer ones, and
            what is the same for all learners need not be measured again.
    """

    learner: str
    episodes: int
    scores: Mapping[str, MeanAndInterval]


def yardsticks(standing: Sequence[Standing]) -> list[Yardsticks]:
    """The yardsticks beside the learners, once for all runs that were asked the same episodes."""
    found: dict[tuple[str, int], tuple[str, dict[str, MeanAndInterval]]] = {}
    for one in standing:
        for run in one.tested.values():
            asked = (run.episodes_sha256, len(run.scores.values))
            _, scores = found.setdefault(asked, (one.row.name, {}))
            for name, score in run.yardsticks.items():
                scores.setdefault(name, score)
    return [Yardsticks(name, episodes, scores) for (_, episodes), (name, scores) in found.items()]
