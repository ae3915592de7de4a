"""One more yardstick of a sweep: its encoder trained offline, on all of a stream's examples at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mambacl.errors import InvalidValueError
from mambacl.evaluation import ACCURACY, Scores, evaluate_predictor
from mambacl.report.measurement import as_scores
from mambacl.sweeps.beside import Beside
from mambacl.sweeps.sweep import Sweep
from mambacl.yardsticks import Offline


@dataclass(frozen=True)
class OfflineTraining(Beside):
    """What offline training comes to on the first test episodes of a sweep.

    Attributes:
        learner: The row whose encoder it was, untrained at first.
        accuracy: Of each episode.
    """

    name: ClassVar[str] = "offline"

    learner: str
    accuracy: tuple[float, ...]

    @property
    def scores(self) -> Scores:
        """The accuracy of each episode."""
        return as_scores(list(self.accuracy))

    @classmethod
    def measure(cls, sweep: Sweep, episodes: int) -> OfflineTraining:
        """Trains the encoder of the first row on each stream, which takes seconds each.

        Args:
            sweep: Of classes.
            episodes: How many, at least 2.

        Raises:
            InvalidValueError: If there are fewer, or targets are vectors.
        """
        if sweep.metric != ACCURACY:
            raise InvalidValueError("sweep: `--offline` must be of classes, got targets that are vectors")
        row = sweep.rows[0]
        experiment = next(iter(row.experiments.values()))
        predictor = Offline(experiment.model.encoder, experiment.model.d_model)
        scores = evaluate_predictor(predictor, experiment.source("test"), episodes)
        return cls(row.name, tuple(round(value, 5) for value in scores.values.tolist()))
