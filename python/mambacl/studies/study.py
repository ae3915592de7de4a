"""A study: a question that trained learners are asked, and what is told of the answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from matplotlib.figure import Figure

from mambacl.experiments.experiment import Experiment
from mambacl.experiments.trained import Trained
from mambacl.settings import Settings
from mambacl.studies.scale import Scale
from mambacl.sweeps import Outcome

A = TypeVar("A", bound=Settings)

UNTRAINED = "untrained"
"""Stands for the sweep of learners that are asked as they are before training."""


@dataclass(frozen=True)
class Told(Generic[A]):
    """What one learner, or one yardstick, answered.

    Attributes:
        sweep: It is of; for a yardstick that whose episodes it was asked; `UNTRAINED` where there is none.
        learner: Its row; or the name of the yardstick or the untrained learner.
        answer: To the study's question.
        seed: Of the run; None where there is none.
        outcome: Of the run's cell in its sweep; None where there is none.
    """

    sweep: str
    learner: str
    answer: A
    seed: int | None = None
    outcome: Outcome | None = None


def answers_by_learner(told: Iterable[Told[A]]) -> dict[str, list[A]]:
    """The answers of each learner's seeds, in the order told."""
    found: dict[str, list[A]] = {}
    for one in told:
        found.setdefault(one.learner, []).append(one.answer)
    return found


@dataclass(frozen=True, eq=False)
class Report:
    """What a page shows.

    Attributes:
        figures: By the name of the file, without its ending; each is readable in black and white.
        tables: In Markdown, each after the line that says what it holds.
        notes: What must be known of the answers, such as what is left out.
    """

    figures: Mapping[str, Figure]
    tables: Mapping[str, str]
    notes: Sequence[str] = ()


class Study(ABC, Generic[A]):
    """A question, the sweeps whose learners are asked, and how. Each study derives from it.

    Attributes:
        name: As in the command, and of its folder.
        question: A sentence or two.
        reported: What the paper says, as far as it is known.
        sweeps: Names of the package's sweeps; none where the question is of untrained learners alone.
        answer: What an answer is read into.
        version: To be raised when the same run would answer otherwise: older answers are asked again.
    """

    name: ClassVar[str]
    question: ClassVar[str]
    reported: ClassVar[str]
    sweeps: ClassVar[tuple[str, ...]]
    answer: type[A]
    version: ClassVar[int] = 1

    def asks(self, sweep: str, learner: str) -> bool:
        """Whether a row of its sweeps is asked; all are, unless a study says otherwise."""
        del sweep, learner
        return True

    def ask(self, trained: Trained, scale: Scale) -> A:
        """Asks one learner of its sweeps."""
        raise NotImplementedError(f"study: {self.name!r} has sweeps, but no way to ask their learners")

    def ask_yardsticks(self, experiment: Experiment, scale: Scale) -> Mapping[str, A]:
        """Asks predictors without meta-training, once, on the episodes of a sweep's first row."""
        del experiment, scale
        return {}

    def untrained(self) -> Mapping[str, Experiment]:
        """Learners that are asked as they are before training, by name."""
        return {}

    def ask_untrained(self, experiments: Mapping[str, Experiment], scale: Scale) -> Mapping[str, A]:
        """Asks these, all at once, so that they can be timed in turns; answers have names of their own."""
        del experiments, scale
        return {}

    @abstractmethod
    def report(self, told: Sequence[Told[A]]) -> Report:
        """What the answers come to."""
