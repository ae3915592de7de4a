"""The loop of meta-training: steps, and what is told, measured and saved between them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict

import torch

from mambacl.episodes import Episodes
from mambacl.errors import DataError, InvalidValueError, NonFiniteError
from mambacl.evaluation import Scores, evaluate
from mambacl.runs import Checkpoint, RunFolder
from mambacl.training.history import StepRecord, ValidationRecord, to_log
from mambacl.training.interrupts import Interrupts
from mambacl.training.progress import Progress
from mambacl.training.trainer import Trainer


class Loop:
    """Meta-trains up to a step, in one of the ranks.

    Args:
        trainer: Makes the steps; it may have done some.
        validation: Of meta-validation episodes; None for no validation.
        run: The run's folder, where this rank writes.
        last: Step to stop after.
        show: Whether to show a progress bar.
        on_step: Called with what each step measured.
    """

    def __init__(
        self,
        trainer: Trainer,
        validation: Episodes | None,
        run: RunFolder | None,
        last: int,
        show: bool,
        on_step: Callable[[StepRecord], None] | None,
    ) -> None:
        self._trainer = trainer
        self._validation = validation
        self._run = run
        self._last = last
        self._on_step = on_step
        self._interrupts = Interrupts()
        tensorboard = None if run is None else run.path / "tensorboard"
        self._bar = Progress(last, trainer.done, trainer.config.batch_size, show, tensorboard)

    def run(self) -> None:
        """Makes the steps that are left; the errors are those of `meta_train`."""
        trainer = self._trainer
        with self._bar, self._interrupts:
            try:
                while trainer.done < self._last:
                    if self._interrupted() or self._validates() or self._keeps():
                        self._pause()
                    self._tell(trainer.step())
                self._pause()
            except NonFiniteError as error:
                saved = [] if self._run is None else self._run.checkpoints()
                good = f"; the last good checkpoint is `{saved[-1]}`" if saved else ""
                raise NonFiniteError(f"{error}{good}") from None

    def _pause(self) -> None:
        """Between two steps: all that was measured is read, what is due is done, and an interrupt heard."""
        self._tell(self._trainer.settle())
        try:
            if self._validates():
                self._validate()
        except (InvalidValueError, DataError):
            self._save()  # the steps are good, whatever the validation episodes are
            raise
        self._save()
        # Told after the first has saved: torchrun ends all when one has ended.
        if self._interrupted():
            raise KeyboardInterrupt(self._how_to_go_on())

    def _interrupted(self) -> bool:
        """Whether any rank is; asked by all of them at once."""
        return self._trainer.ranks.any(self._interrupts.requested)

    def _validates(self) -> bool:
        config, done, validations = (
            self._trainer.config,
            self._trainer.done,
            self._trainer.history.validations,
        )
        due = done > 0 and (done % config.validate_every == 0 or done == config.steps)
        return self._validation is not None and due and not (validations and validations[-1].step == done)

    def _keeps(self) -> bool:
        return self._trainer.done % self._trainer.config.checkpoint_every == 0

    def _tell(self, record: StepRecord | None) -> None:
        if record is None:
            return
        self._bar.step(record, self._trainer.history)
        if self._run is not None:
            self._run.log.append(to_log(record))
        if self._on_step is not None:
            self._on_step(record)

    def _validate(self) -> None:
        """The first rank does, and tells the others."""
        trainer = self._trainer
        measured = self._interrupts.at_once(self._scores) if trainer.ranks.leads else None
        numbers = (0.0, math.nan, math.nan) if measured is None else (1.0, measured.mean, measured.interval)
        ended, score, interval = trainer.ranks.told(numbers)
        if not ended:
            return
        record = ValidationRecord(trainer.done, score, interval, trainer.seconds)
        trainer.history.validations.append(record)
        self._bar.validation(record)
        if self._run is not None:
            self._run.log.append(to_log(record))

    def _scores(self) -> Scores:
        assert self._validation is not None
        return evaluate(
            self._trainer.learner, self._validation, self._trainer.config.validation_episodes
        ).score

    def _save(self) -> None:
        trainer = self._trainer
        if self._run is None or trainer.done == 0:
            return
        best = trainer.history.best(trainer.learner.is_classifier)
        content = Checkpoint(trainer.done, trainer.state(), {"threads": torch.get_num_threads()})
        self._run.save(content, trainer.config.keep, None if best is None else asdict(best))
        self._bar.flush()

    def _how_to_go_on(self) -> str:
        done = self._trainer.done
        if self._run is None or done == 0:
            return f"stopped after step {done}"
        return f"saved at step {done} in `{self._run.path}`; meta-training with the same run goes on there"
