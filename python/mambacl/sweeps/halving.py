"""Successive halving (arXiv:1502.07943): all values train for a share of the steps, the best go on to the
end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from mambacl.errors import ConfigError
from mambacl.ranges import Range
from mambacl.settings import Settings
from mambacl.training import TrainConfig


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

    where: ClassVar[str] = "search"

    first: Annotated[float, Range(0, 1, above=True, below=True)] = 0.2
    keep: Annotated[int, Range(1, 1024)] = 2
    extend: Annotated[int, Range(0, 8)] = 2

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
