"""Successive halving (arXiv:1502.07943): all values train for a share of the steps, the best go on to the
end."""

from __future__ import annotations

from dataclasses import dataclass

from mambacl.errors import ConfigError
from mambacl.settings import Settings
from mambacl.training import TrainConfig

_EXTEND = 8
"""Largest `extend`."""


@dataclass(frozen=True)
class Halving(Settings):
    """How a search by successive halving is done.

    Attributes:
        first: Share of the steps that every value trains for: the first rung. The learning-rate schedule is
            that of all steps, so that those kept go on exactly.
        keep: Values that go on to the end.
        extend: Values that the grid may be extended by, on each side of each setting.

    Raises:
        ConfigError: If a number is out of its range.
    """

    first: float = 0.2
    keep: int = 2
    extend: int = 2

    def __post_init__(self) -> None:
        if not 0 < self.first < 1:
            raise ConfigError(f"search: `first` must be above 0 and below 1, got {self.first}")
        if self.keep < 1:
            raise ConfigError(f"search: `keep` must be at least 1, got {self.keep}")
        if not 0 <= self.extend <= _EXTEND:
            raise ConfigError(f"search: `extend` must be from 0 to {_EXTEND}, got {self.extend}")

    def rung(self, train: TrainConfig) -> int:
        """The step that ends the first rung.

        Args:
            train: Settings of the run, which must validate at this step.

        Raises:
            ConfigError: If the run has no meta-validation at this step.
        """
        step = round(self.first * train.steps)
        if not 0 < step < train.steps or step % train.validate_every:
            raise ConfigError(
                f"search: `first` must end the first rung at a meta-validation, a multiple of "
                f"train.validate_every = {train.validate_every} below train.steps = {train.steps}, got "
                f"{self.first}, which is step {step}"
            )
        return step
