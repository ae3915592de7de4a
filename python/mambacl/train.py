"""Meta-training: episodes in, a learner out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from tqdm.auto import tqdm

from mambacl.episodes import Episodes
from mambacl.errors import ConfigError, NonFiniteError
from mambacl.evaluation import evaluate
from mambacl.learner import Learner


@dataclass(frozen=True)
class TrainConfig:
    """How a learner is meta-trained.

    Attributes:
        steps: Updates of the parameters.
        batch_size: Episodes for each.
        lr: Learning rate of AdamW after the warm-up.
        weight_decay: Of weights; biases, norms and the dynamics of an SSM have none.
        clip_norm: Largest norm of the gradient.
        warmup_steps: Steps over which the learning rate rises from 0.
        schedule: "constant", or "cosine" from `lr` to 0 over `steps`.
        validate_every: Steps between meta-validations.
        validation_episodes: Episodes of each.

    Raises:
        ConfigError: If a number is out of its range.
    """

    steps: int = 2000
    batch_size: int = 16
    lr: float = 1e-3
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    warmup_steps: int = 100
    schedule: Literal["constant", "cosine"] = "cosine"
    validate_every: int = 250
    validation_episodes: int = 100

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "validate_every", "validation_episodes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"train: `{name}` must be at least 1, got {getattr(self, name)}")
        for name in ("lr", "clip_norm"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"train: `{name}` must be a positive number, got {value}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ConfigError(f"train: `weight_decay` must be at least 0, got {self.weight_decay}")
        if self.warmup_steps < 0:
            raise ConfigError(f"train: `warmup_steps` must be at least 0, got {self.warmup_steps}")
        if self.schedule not in ("constant", "cosine"):
            raise ConfigError(f"train: `schedule` must be 'constant' or 'cosine', got {self.schedule!r}")

    def rate(self, step: int) -> float:
        """The share of `lr` that step `step` (from 0) takes."""
        warmup = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        if self.schedule == "constant":
            return warmup
        return warmup * 0.5 * (1 + math.cos(math.pi * step / self.steps))


@dataclass(frozen=True)
class StepRecord:
    """What one step measured, on the episodes it trained on.

    Attributes:
        step: Steps done, this one included.
        objective: The mean loss over queries.
        penalty: The regulariser before its weight; None where it is off.
        accuracy: Among the labels observed; None for vector targets.
        seconds: Since training began.
    """

    step: int
    objective: float
    penalty: float | None
    accuracy: float | None
    seconds: float


@dataclass(frozen=True)
class ValidationRecord:
    """What one meta-validation measured: accuracy, or the loss for vector targets."""

    step: int
    score: float
    seconds: float


@dataclass(frozen=True)
class History:
    """What meta-training measured, in order."""

    steps: list[StepRecord]
    validations: list[ValidationRecord]

    def accuracy(self, window: int = 50) -> list[tuple[int, float]]:
        """(step, training accuracy averaged over the last `window` steps), once a window is full; nothing
        for vector targets."""
        values = [record.accuracy for record in self.steps if record.accuracy is not None]
        return [(i, sum(values[i - window : i]) / window) for i in range(window, len(values) + 1)]

    def steps_to(self, accuracy: float, window: int = 50) -> int | None:
        """The first step at which the averaged training accuracy is reached; None if never."""
        return next((step for step, value in self.accuracy(window) if value >= accuracy), None)


def meta_train(
    learner: Learner,
    source: Episodes,
    config: TrainConfig,
    *,
    validation: Episodes | None = None,
    progress: bool = True,
    on_step: Callable[[StepRecord], None] | None = None,
) -> History:
    """Meta-trains a learner in place. Step i sees episodes i * batch_size and on: nothing is random here.

    Args:
        learner: On the device to train on.
        source: Of meta-training episodes.
        config: How to train.
        validation: Of meta-validation episodes; None for no validation.
        progress: Whether to show a progress bar.
        on_step: Called after each step.

    Returns:
        The history of measurements.

    Raises:
        NonFiniteError: If the loss or its gradient is NaN or infinite; the parameters are those before that
            step, while the encoder's running statistics include it.
    """
    optimiser = torch.optim.AdamW(learner.parameter_groups(config.weight_decay), lr=config.lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, config.rate)
    history = History([], [])
    began = time.perf_counter()
    with tqdm(total=config.steps, disable=not progress, unit="step", dynamic_ncols=True) as bar:
        for step in range(config.steps):
            learner.train()
            episode = source.batch(step * config.batch_size, config.batch_size).to(learner.device)
            output = learner(episode, step)
            if not math.isfinite(output.loss.item()):
                raise NonFiniteError(f"train: the loss is not finite at {_where(step, config)}")
            optimiser.zero_grad()
            output.loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(learner.parameters(), config.clip_norm)
            if not math.isfinite(norm.item()):
                raise NonFiniteError(f"train: the gradient is not finite at {_where(step, config)}")
            optimiser.step()
            schedule.step()

            record = StepRecord(
                step=step + 1,
                objective=output.objective.item(),
                penalty=None if output.penalty is None else output.penalty.item(),
                accuracy=None if output.accuracy is None else output.accuracy.item(),
                seconds=time.perf_counter() - began,
            )
            history.steps.append(record)
            if on_step is not None:
                on_step(record)
            if validation is not None and (step + 1) % config.validate_every == 0:
                score = evaluate(learner, validation, config.validation_episodes).score.mean
                seconds = time.perf_counter() - began
                history.validations.append(ValidationRecord(step + 1, score, seconds))
            bar.update()
            bar.set_postfix_str(_status(history), refresh=False)
    return history


def _where(step: int, config: TrainConfig) -> str:
    first = step * config.batch_size
    return f"step {step}, episodes {first} to {first + config.batch_size - 1}"


def _status(history: History) -> str:
    recent = history.steps[-20:]
    parts = [f"loss {sum(record.objective for record in recent) / len(recent):.3f}"]
    if recent[-1].accuracy is not None:
        parts.append(f"accuracy {sum(record.accuracy or 0 for record in recent) / len(recent):.3f}")
    if recent[-1].penalty is not None:
        parts.append(f"regulariser {sum(record.penalty or 0 for record in recent) / len(recent):.3f}")
    if history.validations:
        parts.append(f"validation {history.validations[-1].score:.3f}")
    return ", ".join(parts)
