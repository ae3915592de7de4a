"""One more yardstick of a sweep: its encoder trained offline, on all of a stream's examples at once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from mambacl import durable, settings
from mambacl.errors import ConfigError, InvalidValueError, RunError
from mambacl.evaluation import ACCURACY, Scores, evaluate_predictor
from mambacl.report.measurement import as_scores
from mambacl.settings import Settings
from mambacl.sweeps.sweep import Sweep
from mambacl.yardsticks import Offline


@dataclass(frozen=True)
class OfflineTraining(Settings):
    """What offline training comes to on the first test episodes of a sweep.

    Attributes:
        learner: The row whose encoder it was, untrained at first.
        accuracy: Of each episode.
    """

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
        scores = evaluate_predictor(predictor, experiment.source("test", 0), episodes)
        return cls(row.name, tuple(round(value, 5) for value in scores.values.tolist()))

    @classmethod
    def read(cls, folder: Path) -> OfflineTraining | None:
        """What was measured; None if nothing was.

        Raises:
            RunError: If the file is damaged or of another version.
        """
        file = _file(folder)
        try:
            return settings.read(cls, json.loads(file.read_bytes()), "offline")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, ConfigError) as error:
            raise RunError(f"sweep: `{file}` cannot be read: {error}") from error

    def write(self, folder: Path) -> None:
        """Keeps it beside the outcomes.

        Raises:
            OSError: If it cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        durable.write(_file(folder), (json.dumps(settings.table(self)) + "\n").encode())


def _file(folder: Path) -> Path:
    return folder / "offline.json"
