"""How a learner is meta-trained: settings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from mambacl.errors import ConfigError
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

    steps: int = 2000
    batch_size: int = 16
    accumulation: int = 1
    optimiser: Optimiser = "adamw"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    warmup_steps: int = 100
    schedule: Schedule = "cosine"
    decay_every: int = 1000
    decay: float = 0.5
    precision: Precision = "float32"
    non_finite: NonFinite = "stop"
    skips_in_a_row: int = 10
    validate_every: int = 250
    validation_episodes: int = 100
    checkpoint_every: int = 250
    keep: int = 2

    def __post_init__(self) -> None:
        for name in (
            "steps",
            "batch_size",
            "accumulation",
            "decay_every",
            "skips_in_a_row",
            "validate_every",
            "checkpoint_every",
            "keep",
        ):
            self._check(name, getattr(self, name) >= 1, "at least 1")
        # An interval over episodes takes two.
        self._check("validation_episodes", self.validation_episodes >= 2, "at least 2")
        self._check(
            "accumulation", self.batch_size % self.accumulation == 0, f"a divisor of {self.batch_size}"
        )
        for name in ("lr", "clip_norm"):
            self._check(name, 0 < getattr(self, name) < math.inf, "a positive number")
        for name in ("weight_decay", "warmup_steps"):
            self._check(name, 0 <= getattr(self, name) < math.inf, "at least 0")
        self._check("decay", 0 < self.decay <= 1, "above 0 and at most 1")
        moments = len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas)
        self._check("betas", moments, "two numbers from 0 to below 1")
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
