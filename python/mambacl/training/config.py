"""How a learner is meta-trained: settings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, get_args

from mambacl.errors import ConfigError
from mambacl.ranges import Count, Episodes, Range, Share
from mambacl.settings import Settings

Optimiser = Literal["adamw", "adam"]
Schedule = Literal["constant", "cosine", "step"]
Precision = Literal["float32", "bfloat16"]
NonFinite = Literal["stop", "skip"]


@dataclass(frozen=True)
class TrainConfig(Settings):
    """How a learner is meta-trained.

    Attributes:
        steps: Updates of the parameters, and the horizon of the cosine.
        batch_size: Episodes for each update, over all ranks.
        accumulation: Parts that the episodes of an update are read in, one after another, to save memory;
            ranks share them, and there are at least as many. The encoder normalises with the statistics of a
            part, and its running ones move to the mean of where the parts would move them.
        optimiser: "adamw", or "adam" (whose weight decay is L2 regularisation).
        lr: Learning rate after the warm-up.
        betas: Decay of the optimiser's two moments.
        weight_decay: Of weights; biases, norms and the dynamics of an SSM have none.
        clip_norm: Largest norm of the gradient.
        warmup_steps: Steps over which the learning rate rises from 0.
        schedule: "constant"; "cosine" from `lr` to 0 over `steps`; "step", multiplied by `decay` after every
            `decay_every` steps.
        decay_every: Of "step".
        decay: Of "step".
        precision: "float32", or "bfloat16" for autocast: products in bfloat16, parameters, states, norms and
            losses in float32.
        non_finite: When a loss, gradient or running statistic is NaN or infinite, "stop" with an error, or
            "skip" the update.
        skips_in_a_row: Updates that "skip" leaves out one after another; one more stops with an error.
        validate_every: Steps between meta-validations.
        validation_episodes: Episodes of each.
        checkpoint_every: Steps between checkpoints; there is one at each meta-validation as well.
        keep: Checkpoints that stay, besides the best.

    Raises:
        ConfigError: If a setting is out of its range.
    """

    where: ClassVar[str] = "train"

    steps: Count = 2000
    batch_size: Annotated[int, Range(1, 16_384)] = 16
    accumulation: Annotated[int, Range(1, 16_384)] = 1
    optimiser: Optimiser = "adamw"
    lr: Annotated[float, Range(0, 1_000, above=True)] = 1e-3
    betas: tuple[Share, Share] = (0.9, 0.999)
    weight_decay: Annotated[float, Range(0, 1_000)] = 0.01
    clip_norm: Annotated[float, Range(0, 1e30, above=True)] = 1.0
    warmup_steps: Annotated[int, Range(0, 10**9)] = 100
    schedule: Schedule = "cosine"
    decay_every: Count = 1000
    decay: Annotated[float, Range(0, 1, above=True)] = 0.5
    precision: Precision = "float32"
    non_finite: NonFinite = "stop"
    skips_in_a_row: Count = 10
    validate_every: Count = 250
    validation_episodes: Episodes = 100
    checkpoint_every: Count = 250
    keep: Count = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check(
            "accumulation", self.batch_size % self.accumulation == 0, f"a divisor of {self.batch_size}"
        )
        self._check("betas", len(self.betas) == 2, "two numbers")
        for name, choices in (
            ("optimiser", Optimiser),
            ("schedule", Schedule),
            ("precision", Precision),
            ("non_finite", NonFinite),
        ):
            self._check(name, getattr(self, name) in get_args(choices), f"one of {get_args(choices)}")

    def rate(self, step: int) -> float:
        """The share of `lr` that step `step` (from 0) takes: a function of the step alone, so that a run
        that stops and goes on learns as one that did not stop."""
        warmup = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        match self.schedule:
            case "constant":
                return warmup
            case "cosine":
                return warmup * 0.5 * (1 + math.cos(math.pi * step / self.steps))
            case "step":
                return warmup * self.decay ** (step // self.decay_every)

    def _check(self, name: str, fits: bool, expected: str) -> None:
        if not fits:
            raise ConfigError(f"train: `{name}` must be {expected}, got {getattr(self, name)!r}")
