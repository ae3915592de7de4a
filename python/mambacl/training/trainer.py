"""Meta-training, step by step: a learner, its optimiser, and all it takes to go on exactly."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mambacl.episodes import Episodes
from mambacl.errors import CheckpointError, NonFiniteError
from mambacl.learner import EpisodeOutput, Learner
from mambacl.training.config import TrainConfig
from mambacl.training.distributed import Ranks
from mambacl.training.history import History, StepRecord
from mambacl.training.readback import Readback

Tensors = Mapping[str, Tensor]

_MISSING = float("nan")
"""Stands for what a learner does not measure, among numbers on the device."""


class Trainer:
    """Meta-trains a learner in place. Step i reads episodes i * batch_size and on; nothing is random here.

    What a step measured is read when the next one has been launched, so that a GPU never waits for the
    numbers of the log; `settle` reads the last.

    In a process group of torch.distributed each rank reads its share of the episodes, and all make the same
    update.

    Args:
        learner: On the device to train on.
        source: Of meta-training episodes.
        config: How to train.

    Attributes:
        done: Steps done.
        ranks: The processes that train together.
        history: What was measured; meta-validations are the caller's to add.

    Raises:
        ConfigError: If the ranks cannot share the episodes of an update evenly.
    """

    def __init__(self, learner: Learner, source: Episodes, config: TrainConfig) -> None:
        self.learner = learner
        self.source = source
        self.config = config
        self.ranks = Ranks.here()
        self.done = 0
        self.history = History()
        self._share = self.ranks.share(config)
        self._model = self.ranks.wrapped(learner)
        kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[config.optimiser]
        groups = learner.parameter_groups(config.weight_decay)
        # Fused, an optimiser can be told on the device to make no update; else torch chooses the form.
        fused = True if config.non_finite == "skip" else None
        self._optimiser = kind(groups, lr=config.lr, betas=config.betas, fused=fused)
        self._names = _names(learner, self._optimiser)
        self._pending: Readback | None = None
        self._began = time.perf_counter()

    def step(self) -> StepRecord | None:
        """Updates the parameters once.

        Returns:
            What the step before this one measured; None after the first.

        Raises:
            NonFiniteError: If the loss, the gradient or a running statistic of the step before was NaN or
                infinite, and `non_finite` is "stop". No update with such a gradient has been made: it was
                taken as zero. (Where `non_finite` is "skip" there is no update, of the moments neither; more
                than `skips_in_a_row` are an error.)
            RunError: If another rank has ended.
        """
        config = self.config
        for group in self._optimiser.param_groups:
            group["lr"] = config.lr * config.rate(self.done)
        self.learner.train()
        buffers = {name: buffer.clone() for name, buffer in self.learner.named_buffers()}
        self._optimiser.zero_grad()
        outputs, moved = zip(*(self._backward(part, buffers) for part in self._share), strict=True)
        self._move(moved)
        norm = torch.nn.utils.clip_grad_norm_(self.learner.parameters(), config.clip_norm)
        (losses,) = self.ranks.mean([_measured(outputs, norm)])
        measured = torch.cat([losses, norm.view(1), self._largest_statistic().to(norm).view(1)])
        # As single elements: a list of places would have to come from the host.
        self._protect(measured[0].isfinite() & measured[-2].isfinite() & measured[-1].isfinite(), buffers)
        self._optimiser.step()
        self.done += 1
        before, self._pending = self._pending, Readback(measured)
        return None if before is None else self._read(before, self.done - 1)

    def settle(self) -> StepRecord | None:
        """Reads what the last step measured, if it has not been read.

        Raises:
            NonFiniteError: As `step`.
        """
        last, self._pending = self._pending, None
        return None if last is None else self._read(last, self.done)

    @property
    def seconds(self) -> float:
        """Since training began, in all processes that took part."""
        return time.perf_counter() - self._began

    def state(self) -> dict[str, Tensors]:
        """Tensors to go on with: "model" by name, and the "optimiser"'s by parameter and name."""
        moments = self._optimiser.state_dict()["state"]
        optimiser = {
            f"{self._names[index]}.{key}": value
            for index, values in moments.items()
            for key, value in values.items()
        }
        return {"model": self.learner.state_dict(), "optimiser": optimiser}

    def restore(self, done: int, parts: Mapping[str, Tensors], history: History) -> None:
        """Goes on from a state.

        Args:
            done: Steps done.
            parts: Of `state`.
            history: Measured up to there.

        Raises:
            CheckpointError: If the tensors are not those of this learner and optimiser.
        """
        expected = {name: list(tensor.shape) for name, tensor in self.learner.state_dict().items()}
        got = {name: list(tensor.shape) for name, tensor in parts.get("model", {}).items()}
        for name in [*expected, *got]:
            if expected.get(name) != got.get(name):
                raise CheckpointError(
                    f"checkpoint: its tensors must be those of this learner, with `{name}` of shape "
                    f"{expected.get(name)}, got {got.get(name)}"
                )
        moments = {
            index: {
                key.removeprefix(f"{name}."): value.clone()
                for key, value in parts.get("optimiser", {}).items()
                if key.rpartition(".")[0] == name
            }
            for index, name in enumerate(self._names)
        }
        if done and not any(moments.values()):
            raise CheckpointError("checkpoint: it must hold the moments of the optimiser, got none")
        state = {index: values for index, values in moments.items() if values}  # none where none was learned
        groups = self._optimiser.state_dict()["param_groups"]
        self.learner.load_state_dict(dict(parts["model"]))
        self._optimiser.load_state_dict({"state": state, "param_groups": groups})
        self.done = done
        self.history = history
        self._pending = None
        self._began = time.perf_counter() - history.seconds

    def _backward(self, part: range, before: Tensors) -> tuple[EpisodeOutput, Tensors]:
        """Adds the gradient of one part of the episodes.

        Returns:
            What the learner made of it, and where the part alone would move the running statistics from where
            they were before the step.
        """
        config, device = self.config, self.learner.device
        episodes = self.source.batch(self.done * config.batch_size + part.start, len(part))
        with torch.no_grad():
            for name, buffer in self.learner.named_buffers():
                buffer.copy_(before[name])
        with self.ranks.backward(self._model, last=part == self._share[-1]):
            with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
                output: EpisodeOutput = self._model(episodes.to(device, non_blocking=True), self.done)
            (output.loss / len(self._share)).backward()
        return output, {name: buffer.clone() for name, buffer in self.learner.named_buffers()}

    def _move(self, moved: Sequence[Tensors]) -> None:
        """Moves the running statistics to the mean of where the parts would, over all ranks."""
        buffers = {
            name: buffer for name, buffer in self.learner.named_buffers() if buffer.is_floating_point()
        }
        own = [torch.stack([part[name] for part in moved]).mean(0) for name in buffers]
        with torch.no_grad():
            for buffer, mean in zip(buffers.values(), self.ranks.mean(own), strict=True):
                buffer.copy_(mean)

    def _largest_statistic(self) -> Tensor:
        """Of all running ones, on the device: where the encoder normalises with those of the stream, its own
        may overflow while the loss is finite."""
        statistics = [
            buffer.abs().max()
            for buffer in self.learner.buffers()
            if buffer.is_floating_point() and buffer.numel()
        ]
        return torch.stack(statistics).max() if statistics else torch.zeros((), device=self.learner.device)

    def _protect(self, finite: Tensor, buffers: Tensors) -> None:
        """Where what was measured is not finite, leaves out the update, or takes the gradient as zero, and
        takes buffers as they were: chosen on the device, for nothing here waits for it."""
        with torch.no_grad():
            if self.config.non_finite == "skip":
                # As torch's GradScaler does it.
                self._optimiser.found_inf = (~finite).float()  # pyright: ignore[reportAttributeAccessIssue]
            else:
                for parameter in self.learner.parameters():
                    if parameter.grad is not None:
                        parameter.grad = torch.where(finite, parameter.grad, 0.0)
            for name, buffer in self.learner.named_buffers():
                buffer.copy_(torch.where(finite, buffer, buffers[name]))

    def _read(self, measured: Readback, step: int) -> StepRecord:
        loss, objective, penalty, accuracy, norm, statistic = measured.read()
        checked = {"the loss": loss, "the gradient": norm, "a running statistic": statistic}
        lost = next((what for what, value in checked.items() if not math.isfinite(value)), None)
        first = (step - 1) * self.config.batch_size
        place = (
            f"{lost} is not finite at step {step}, episodes {first} to {first + self.config.batch_size - 1}"
        )
        if lost is not None and self.config.non_finite == "stop":
            raise NonFiniteError(f"train: {place}")
        record = StepRecord(
            step=step,
            loss=loss,
            objective=objective,
            penalty=None if math.isnan(penalty) else penalty,
            accuracy=None if math.isnan(accuracy) else accuracy,
            gradient_norm=norm,
            lr=self.config.lr * self.config.rate(step - 1),
            seconds=self.seconds,
            skipped=lost is not None,
        )
        self.history.steps.append(record)
        in_a_row = self.config.skips_in_a_row
        if lost is not None and self.history.skipped_last() > in_a_row:
            raise NonFiniteError(f"train: {place}, and {in_a_row} updates before it were skipped in a row")
        return record


def _measured(outputs: Sequence[EpisodeOutput], norm: Tensor) -> Tensor:
    """Loss, objective, penalty and accuracy of this rank's part of an update, on the device."""
    with torch.no_grad():
        missing = torch.full_like(norm, _MISSING)
        parts = [
            torch.stack(
                [
                    output.loss.to(norm),
                    output.objective.to(norm),
                    missing if output.penalty is None else output.penalty.to(norm),
                    missing if output.accuracy is None else output.accuracy.to(norm),
                ]
            )
            for output in outputs
        ]
        return torch.stack(parts).mean(0)


def _names(learner: Learner, optimiser: torch.optim.Optimizer) -> list[str]:
    """The name of each parameter in the order of the optimiser's state."""
    names = {parameter: name for name, parameter in learner.named_parameters()}
    return [names[parameter] for group in optimiser.param_groups for parameter in group["params"]]
