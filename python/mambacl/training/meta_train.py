"""Meta-training with meta-validation, a log, checkpoints and a bar."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext

import torch

from mambacl.episodes import Episodes
from mambacl.errors import CheckpointError, ConfigError, InvalidValueError, RunError
from mambacl.learner import Learner
from mambacl.runs import Checkpoint, RunFolder, checkpoint
from mambacl.training.config import TrainConfig
from mambacl.training.history import History, StepRecord, from_log
from mambacl.training.loop import Loop
from mambacl.training.trainer import Trainer

_LOG = logging.getLogger("mambacl")


def meta_train(
    learner: Learner,
    source: Episodes,
    config: TrainConfig,
    *,
    validation: Episodes | None = None,
    run: RunFolder | None = None,
    stop_at: int | None = None,
    progress: bool = True,
    on_step: Callable[[StepRecord], None] | None = None,
) -> History:
    """Meta-trains a learner in place. Step i reads episodes i * batch_size and on: nothing is random here.

    With a run folder, all is logged and checkpoints are written; training goes on from the newest one, and
    the weights after n steps are bit for bit those of a run that never stopped, on the same machine and
    number of threads. The first Ctrl-C (or SIGTERM) ends the step and saves; the second stops at once, and
    what came after the newest checkpoint is done again.

    In a process group of torch.distributed (with a backend for CPU tensors) ranks share the episodes of each
    update; see `docs/scale.md`. The first alone validates, writes and shows; all take the same arguments.

    Args:
        learner: On the device to train on.
        source: Of meta-training episodes.
        config: How to train.
        validation: Of meta-validation episodes; None for no validation.
        run: The run's folder; None keeps nothing on disk.
        stop_at: Steps to stop after, at most `config.steps`; the schedule stays that of all of them. A run
            that has done as many stays as it is.
        progress: Whether to show a progress bar, or off a terminal a line for each meta-validation.
        on_step: Called with what each step measured, when the next has been launched; by every rank.

    Returns:
        The history of measurements.

    Raises:
        ConfigError: If `stop_at` is out of its range, or the ranks cannot share the episodes of an update
            evenly.
        NonFiniteError: If a loss, gradient or running statistic is NaN or infinite, and `config.non_finite`
            is "stop", or too many were skipped in a row; told one step later, with the step, its episodes and
            the last good checkpoint. Parameters and buffers are finite.
        RunError: If another process trains in the folder, its log is damaged, or it cannot be written; or
            another rank has ended.
        CheckpointError: If a checkpoint cannot be read or written.
        KeyboardInterrupt: After Ctrl-C, with how to go on; with a run folder all is saved by then, unless a
            second one, which has no text, cut that short.
    """
    last = config.steps if stop_at is None else stop_at
    if not 1 <= last <= config.steps:
        raise ConfigError(
            f"train: `stop_at` must be from 1 to train.steps = {config.steps}, where the schedule ends, "
            f"got {stop_at}"
        )
    trainer = Trainer(learner, source, config)
    leads = trainer.ranks.leads
    with run.locked() if run is not None and leads else nullcontext():
        if run is not None:
            with trainer.ranks.first_before_others():
                _resume(trainer, run)
        if trainer.ranks.told([trainer.done]) != [trainer.done]:
            raise RunError(
                f"train: all ranks must go on from the same checkpoint, got step {trainer.done} on rank "
                f"{trainer.ranks.rank}; they need a folder that all of them see"
            )
        try:
            Loop(trainer, validation, run if leads else None, last, progress and leads, on_step).run()
        finally:
            if run is not None:
                run.log.close()
    return trainer.history


def _resume(trainer: Trainer, run: RunFolder) -> None:
    """Goes on from the newest checkpoint, if any; what the log has beyond it is dropped."""
    saved = run.checkpoints()
    try:
        content = checkpoint.read(saved[-1]) if saved else Checkpoint(0, {}, {})
    except CheckpointError as error:
        before = f"; without that folder the run goes on from `{saved[-2]}`" if len(saved) > 1 else ""
        raise CheckpointError(f"{error}{before}") from error
    if trainer.ranks.leads:
        run.log.cut(content.step)
    if not saved:
        return
    history = read_history(run)
    if len(history.steps) != content.step:
        raise RunError(
            f"run: `{run.log.path}` must have a record for each of {content.step} steps, "
            f"got {len(history.steps)}"
        )
    threads = content.facts.get("threads")
    if threads != torch.get_num_threads():
        _LOG.warning(
            "the run had %s threads and goes on with %s: sums may differ in their last bits",
            threads,
            torch.get_num_threads(),
        )
    trainer.restore(content.step, content.parts, history)


def read_history(run: RunFolder) -> History:
    """What a run has measured so far.

    Args:
        run: The run.

    Returns:
        Its history.

    Raises:
        RunError: If its log is damaged.
    """
    try:
        return from_log(run.log.read())
    except InvalidValueError as error:
        raise RunError(f"run: `{run.log.path}` is damaged or of another version: {error}") from error
