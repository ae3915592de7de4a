"""What answers are scored by: the one number that learners are compared by."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from mambacl.config import AngleTarget, ClassTarget, Target


@dataclass(frozen=True)
class Metric:
    """The primary score of a kind of target.

    Attributes:
        name: In words, for tables.
        higher_is_better: Whether a larger score is a better one.
        worst: What stands for a learner that has no score.

    Examples:
        >>> ACCURACY.best([0.5, 0.9]), SQUARED_ERROR.best([0.5, 0.9]), SQUARED_ERROR.best([])
        (0.9, 0.5, inf)
        >>> SQUARED_ERROR.key, COSINE_ERROR.key
        ('squared_error', '1_minus_cos')
    """

    name: str
    higher_is_better: bool
    worst: float

    @property
    def key(self) -> str:
        """The name as a key of JSON."""
        return self.name.replace("-", "minus").replace(" ", "_")

    def rank(self, score: float) -> float:
        """A number that is larger for a better score."""
        return score if self.higher_is_better else -score

    def best(self, scores: Iterable[float]) -> float:
        """The best of scores; `worst` where there is none."""
        return max(scores, key=self.rank, default=self.worst)


ACCURACY = Metric("accuracy", higher_is_better=True, worst=-1.0)
SQUARED_ERROR = Metric("squared error", higher_is_better=False, worst=math.inf)
COSINE_ERROR = Metric("1 - cos", higher_is_better=False, worst=math.inf)


def metric_of(target: Target) -> Metric:
    """What answers of a kind of target are scored by; vectors and angles by the learner's own loss."""
    match target:
        case ClassTarget():
            return ACCURACY
        case AngleTarget():
            return COSINE_ERROR
        case _:
            return SQUARED_ERROR
