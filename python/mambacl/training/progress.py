"""What a person sees of a training: a bar, and TensorBoard's curves."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from tqdm.asyncio import tqdm as plain_bar
from tqdm.auto import tqdm

from mambacl.errors import RunError
from mambacl.training.history import History, StepRecord, ValidationRecord

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

WINDOW = 20
"""Steps that the numbers beside the bar are averaged over."""


class Progress:
    """A bar on the terminal or in a notebook, with loss, accuracy, regulariser, the last meta-validation and
    episodes a second; elsewhere, as in a log, a line for each meta-validation. And, with a folder, the curves
    of TensorBoard.

    Args:
        total: Steps.
        done: Of them before this process.
        batch_size: Episodes of a step.
        show: Whether to show the bar, or the lines.
        tensorboard: Folder for TensorBoard's events; None for none.
    """

    def __init__(self, total: int, done: int, batch_size: int, show: bool, tensorboard: Path | None) -> None:
        total = max(total, done)  # a run may have done more than was asked for
        drawn = show and (tqdm is not plain_bar or sys.stderr.isatty())  # a notebook's is another
        self._bar = tqdm(total=total, initial=done, disable=not drawn, unit="step", dynamic_ncols=True)
        self._lines = show and not drawn
        self._total = total
        self._batch_size = batch_size
        self._first = done + 1
        self._folder = tensorboard
        self._writer: SummaryWriter | None = None
        self._hook = threading.excepthook

    def __enter__(self) -> Progress:
        self._hook = threading.excepthook
        threading.excepthook = self._thread_failed
        try:
            self._open()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        try:
            if self._writer is not None:
                # What has failed before fails again, and is told already.
                told = contextlib.nullcontext() if error is None else contextlib.suppress(RunError)
                with told, self._writing():
                    self._writer.close()
        finally:
            threading.excepthook = self._hook

    def step(self, record: StepRecord, history: History) -> None:
        """Shows a step.

        Raises:
            RunError: If TensorBoard's file cannot be written; so do the others.
        """
        self._bar.update()
        if not self._bar.disable:
            self._bar.set_postfix_str(self._status(history), refresh=False)
        if self._writer is None:
            return
        with self._writing():
            for name in ("loss", "objective", "penalty", "accuracy", "gradient_norm", "lr"):
                value = getattr(record, name)
                if value is not None:
                    self._writer.add_scalar(f"train/{name}", value, record.step)

    def validation(self, record: ValidationRecord) -> None:
        """Shows a meta-validation."""
        if self._lines:
            told = f"step {record.step} of {self._total}: meta-validation {record.score:.3f}"
            print(
                f"{told} ± {record.interval:.3f}, after {record.seconds:.0f} s", file=sys.stderr, flush=True
            )
        if self._writer is not None:
            with self._writing():
                self._writer.add_scalar("validation/score", record.score, record.step)

    def flush(self) -> None:
        """Writes what TensorBoard has not got: a checkpoint never knows more than its curves."""
        if self._writer is not None:
            with self._writing():
                self._writer.flush()

    def _open(self) -> None:
        if self._folder is None:
            return
        # Imported here: it takes a second, and who trains without a folder needs none of it.
        from torch.utils.tensorboard.writer import SummaryWriter

        with self._writing():
            # What a killed process told of later steps is told again.
            self._writer = SummaryWriter(str(self._folder), purge_step=self._first)

    @contextlib.contextmanager
    def _writing(self) -> Generator[None, None, None]:
        try:
            yield
        except OSError as error:
            raise RunError(f"tensorboard: `{self._folder}` could not be written: {error}") from error

    def _thread_failed(self, failure: threading.ExceptHookArgs) -> None:
        """TensorBoard writes in a thread, whose error comes back at the next call: told once is enough."""
        if not type(failure.thread).__module__.startswith("tensorboard."):
            self._hook(failure)

    def _status(self, history: History) -> str:
        recent = history.steps[-WINDOW:]
        parts = [f"loss {sum(record.objective for record in recent) / len(recent):.3f}"]
        if recent[-1].accuracy is not None:
            parts.append(f"accuracy {sum(record.accuracy or 0 for record in recent) / len(recent):.3f}")
        if recent[-1].penalty is not None:
            parts.append(f"regulariser {sum(record.penalty or 0 for record in recent) / len(recent):.3f}")
        if history.validations:
            parts.append(f"validation {history.validations[-1].score:.3f}")
        bar = self._bar.format_dict
        rate = bar["rate"] or (bar["n"] - bar["initial"]) / max(bar["elapsed"], 1e-9)  # lately, or in all
        parts.append(f"{rate * self._batch_size:.0f} episodes/s")
        return ", ".join(parts)
