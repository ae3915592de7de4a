"""What meta-training measured."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import takewhile
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mambacl.errors import InvalidValueError
from mambacl.settings import Settings


@dataclass(frozen=True)
class StepRecord(Settings):
    """What one step measured, on the episodes it trained on.

    Attributes:
        step: Steps done, this one included.
        loss: The objective and the weighted regulariser.
        objective: The mean loss over queries.
        penalty: The regulariser before its weight; None where it is off.
        accuracy: Among the labels observed; None for vector targets.
        gradient_norm: Before clipping.
        lr: Learning rate of the step.
        seconds: Since training began, in all processes that took part.
        skipped: Whether the update was left out, as a number was not finite.
    """

    step: int
    loss: float
    objective: float
    penalty: float | None
    accuracy: float | None
    gradient_norm: float
    lr: float
    seconds: float
    skipped: bool = False


@dataclass(frozen=True)
class ValidationRecord(Settings):
    """What one meta-validation measured.

    Attributes:
        step: Steps done.
        score: Accuracy, or the loss for vector targets.
        interval: Half the 95 % interval over episodes.
        seconds: Since training began.
    """

    step: int
    score: float
    interval: float
    seconds: float


@dataclass(frozen=True)
class History:
    """What meta-training measured, in order."""

    steps: list[StepRecord] = field(default_factory=list)
    validations: list[ValidationRecord] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Of training so far."""
        return max((record.seconds for record in [*self.steps[-1:], *self.validations[-1:]]), default=0.0)

    def skipped_last(self) -> int:
        """How many of the last updates were skipped in a row."""
        return sum(1 for _ in takewhile(lambda record: record.skipped, reversed(self.steps)))

    def accuracy(self, window: int = 50) -> list[tuple[int, float]]:
        """(step, training accuracy averaged over the last `window` steps), once a window is full; nothing
        for vector targets."""
        return _averaged([record.accuracy for record in self.steps if record.accuracy is not None], window)

    def objective(self, window: int = 50) -> list[tuple[int, float]]:
        """(step, training loss averaged over the last `window` steps), once a window is full."""
        return _averaged([record.objective for record in self.steps], window)

    def steps_to(self, accuracy: float, window: int = 50) -> int | None:
        """The first step at which the averaged training accuracy is reached; None if never."""
        return next((step for step, value in self.accuracy(window) if value >= accuracy), None)

    def best(self, higher_is_better: bool = True) -> ValidationRecord | None:
        """The best meta-validation with a finite score, the first of equals; None before any."""
        sign = 1 if higher_is_better else -1
        finite = [record for record in self.validations if math.isfinite(record.score)]
        return max(finite, key=lambda record: sign * record.score, default=None)


_STEP = TypeAdapter(StepRecord)
_VALIDATION = TypeAdapter(ValidationRecord)


def to_log(record: StepRecord | ValidationRecord) -> dict[str, Any]:
    """A record as JSON has it: null for a number that is NaN or infinite."""
    return {name: _finite(value) for name, value in asdict(record).items()}


def from_log(records: Iterable[Mapping[str, Any]]) -> History:
    """The history of records as `to_log` writes them.

    Raises:
        InvalidValueError: If a record has other fields, or values of other types; with its line, from 1.
    """
    history = History()
    for number, record in enumerate(records, start=1):
        try:
            if "score" in record:
                measured = _measured(record, ("score", "interval"))
                history.validations.append(_VALIDATION.validate_json(json.dumps(measured)))
            else:
                measured = _measured(record, ("loss", "objective", "gradient_norm"))
                history.steps.append(_STEP.validate_json(json.dumps(measured)))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise InvalidValueError(
                f"line {number} must be of a step or a meta-validation: `{place}`: {first['msg']}"
            ) from None
    return history


def _averaged(values: Sequence[float], window: int) -> list[tuple[int, float]]:
    return [(i, sum(values[i - window : i]) / window) for i in range(window, len(values) + 1)]


def _measured(record: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """A record with NaN where a number was not finite."""
    return {name: math.nan if value is None and name in names else value for name, value in record.items()}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
