"""All that tables of a sweep are made of: how its learners stand, their pace, and offline training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mambacl.evaluation import Metric
from mambacl.sweeps.offline import OfflineTraining
from mambacl.sweeps.outcome import Outcome, Results
from mambacl.sweeps.pace import Pace
from mambacl.sweeps.plan import outcomes
from mambacl.sweeps.standings import Standing, first_minutes, standings
from mambacl.sweeps.sweep import Sweep


@dataclass(frozen=True)
class Sheet:
    """What tables are made of.

    Attributes:
        sweep: They are of.
        each: How its learners stand.
        pace: How fast they were timed beside one another; None if they were not.
        offline: What offline training comes to; None if it was not measured.
    """

    sweep: Sweep
    each: Sequence[Standing]
    pace: Pace | None
    offline: OfflineTraining | None

    @classmethod
    def read(cls, sweep: Sweep, results: Results) -> Sheet:
        """From the files of a sweep.

        Raises:
            RunError: If one cannot be read.
        """
        known = outcomes(sweep, results)
        return cls(
            sweep,
            tuple(standings(sweep, known)),
            Pace.read(results.folder),
            OfflineTraining.read(results.folder),
        )

    @property
    def metric(self) -> Metric:
        """What scores are."""
        return self.sweep.metric

    @property
    def minutes(self) -> float | None:
        """In which the first learner trained, which the table at equal minutes is at."""
        return first_minutes(self.each, self.pace)

    def untimed(self, one: Standing) -> bool:
        """Whether others were timed and this learner was not."""
        return self.pace is not None and one.row.name not in self.pace.step

    def training_rate(self, one: Standing, run: Outcome) -> float:
        """Episodes a second in training."""
        if self.pace is None or self.untimed(one):
            batch_size, seconds = run.experiment.train.batch_size, run.step_seconds
        else:
            batch_size, seconds = self.pace.batch_size[one.row.name], self.pace.step[one.row.name]
        return batch_size / seconds if seconds else 0.0

    def inference_rate(self, one: Standing, run: Outcome) -> float:
        """Episodes a second, read and answered."""
        if self.pace is None or self.untimed(one):
            return run.inference
        return 1 / self.pace.episode[one.row.name]
