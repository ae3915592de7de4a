"""Scores under conditions that have names: as answers, as asked of learners and yardsticks, and as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mambacl.episodes import Episodes
from mambacl.evaluation import Scores, evaluate, evaluate_predictor
from mambacl.learner import Learner
from mambacl.report.measuring import CLASS_YARDSTICKS
from mambacl.settings import Settings
from mambacl.studies.summary import Summary


@dataclass(frozen=True)
class ByCondition(Settings):
    """Scores by condition.

    Attributes:
        scores: The mean over episodes, and half its 95 % interval, for this one model.
    """

    scores: dict[str, tuple[float, float]]

    @classmethod
    def of(cls, scores: Mapping[str, Scores]) -> ByCondition:
        """From scores of episodes."""
        return cls({name: one.rounded() for name, one in scores.items()})


def ask_learner(learner: Learner, sources: Mapping[str, Episodes], episodes: int) -> ByCondition:
    """A learner's score on the episodes of each condition.

    Args:
        learner: To ask.
        sources: Of the episodes, by condition.
        episodes: Of each.
    """
    return ByCondition.of(
        {name: evaluate(learner, source, episodes).score for name, source in sources.items()}
    )


def ask_class_yardsticks(sources: Mapping[str, Episodes], episodes: int) -> dict[str, ByCondition]:
    """The same of the yardsticks of classes, by their names."""
    return {
        yardstick: ByCondition.of(
            {name: evaluate_predictor(predict, source, episodes) for name, source in sources.items()}
        )
        for yardstick, predict in CLASS_YARDSTICKS.items()
    }


def summaries(answers: Sequence[ByCondition], conditions: Sequence[str]) -> list[Summary]:
    """What the models of one learner score under each condition."""
    return [Summary.of([one.scores[condition] for one in answers]) for condition in conditions]
