"""The work on one cell: training it, and testing it once its learner's values are chosen."""

from __future__ import annotations

import dataclasses
import math
import statistics
from itertools import pairwise
from pathlib import Path

import torch

from mambacl.config import ClassTarget
from mambacl.errors import NonFiniteError
from mambacl.evaluation.protocol import evaluation_mode
from mambacl.experiments.trained import load_run
from mambacl.experiments.training_run import TrainingRun, trained_run, versions
from mambacl.learner import Learner
from mambacl.report import ClassMeasurement, Measurement, VectorMeasurement, measure
from mambacl.report.measurement import as_scores, prepare
from mambacl.sweeps.outcome import OnTest, Outcome, Results, VectorsOnTest
from mambacl.sweeps.pace import inference
from mambacl.sweeps.plan import final, goal, outcomes
from mambacl.sweeps.sweep import Cell, Sweep
from mambacl.training import History
from mambacl.training.meta_train import read_history

TASKS_READ = (20, 100)
"""Lengths of streams after which the state is weighed."""

_DIGITS = 5


def advance(
    sweep: Sweep, cell: Cell, runs: Path, results: Results, *, jobs: int = 1, device: str = "cpu"
) -> Outcome:
    """Does all that can be done for a cell now: trains it, as `mambacl train` does, or goes on, to the end of
    the first rung or of all steps; and tests it if the values of its learner are chosen and are this cell's.
    What is done is not done again.

    Args:
        sweep: It is of.
        cell: To work on.
        runs: Folder of the sweep's runs.
        results: Where its outcome is written.
        jobs: Cells that are worked on beside one another, for the record.
        device: To train and test on; states are weighed and inference is timed on the CPU.

    Returns:
        The outcome, which has been written.

    Raises:
        MambaclError: If training or testing fails; a number that is not finite is an outcome, not a failure.
        KeyboardInterrupt: After Ctrl-C or SIGTERM in training; what was trained is saved.
        OSError: If a file cannot be written.
    """
    folder = runs / cell.name
    row, known = sweep.row(cell.learner), outcomes(sweep, results)
    outcome, steps = known.get(cell.name), goal(row, cell, known)
    if outcome is None or not outcome.reached(steps):
        outcome = _trained(cell, folder, jobs, device, steps)
        results.write(cell, outcome)
    if outcome.complete or cell not in final(row, outcomes(sweep, results)):
        return outcome
    trained = trained_run(cell.experiment, cell.seed, folder, device)
    trained.learner.to(device)
    prepare(folder)
    measured = measure(
        trained, "test", episodes=sweep.test.episodes, matrix_episodes=sweep.test.matrix_episodes
    )
    measured.save(folder)
    outcome = dataclasses.replace(outcome, test=_tested(measured))
    results.write(cell, outcome)
    return outcome


def _trained(cell: Cell, folder: Path, jobs: int, device: str, steps: int) -> Outcome:
    run = TrainingRun.begin(cell.experiment, cell.seed, folder, resume=True, device=device)
    try:
        history, diverged = run.train(steps, progress=False), None
    except NonFiniteError as error:
        history, diverged = read_history(run.folder), str(error)
    learner = load_run(folder).learner if run.folder.checkpoints() else run.learner.cpu()
    return Outcome(
        learner=cell.learner,
        seed=cell.seed,
        values=dict(cell.values),
        settings=dict(run.folder.settings),
        diverged=diverged,
        steps=len(history.steps),
        seconds=round(history.seconds, 2),
        step_seconds=_step_seconds(history),
        threads=torch.get_num_threads(),
        jobs=jobs,
        validations=_validations(history),
        parameters=sum(parameter.numel() for parameter in learner.parameters()),
        state_bytes={str(tasks): state_bytes(cell, learner, tasks) for tasks in TASKS_READ},
        inference=round(inference(cell.experiment, learner), 1),
        versions=versions(),
    )


def _tested(measured: Measurement) -> OnTest | VectorsOnTest:
    queries = measured.tasks * measured.test_shots
    yardsticks = {name: as_scores(values).rounded() for name, values in measured.yardsticks.items()}
    match measured:
        case ClassMeasurement():
            matrix = measured.accuracy_matrix
            return OnTest(
                step=measured.step,
                tasks=measured.tasks,
                queries=queries,
                episodes_sha256=measured.episodes_sha256,
                right=tuple(round(share * queries) for share in measured.accuracy),
                vocabulary_accuracy=as_scores(measured.vocabulary_accuracy).rounded(),
                nll=as_scores(measured.nll).rounded(),
                calibration_error=round(measured.calibration_error, _DIGITS),
                forgetting=None if matrix is None else round(matrix.forgetting(), _DIGITS),
                task_accuracy=_rounded(measured.task_accuracy),
                yardsticks=yardsticks,
            )
        case VectorMeasurement():
            return VectorsOnTest(
                step=measured.step,
                tasks=measured.tasks,
                queries=queries,
                episodes_sha256=measured.episodes_sha256,
                errors=_rounded(measured.error),
                forgetting=round(measured.error_matrix.forgetting(), _DIGITS),
                task_error=_rounded(measured.task_error),
                yardsticks=yardsticks,
            )
        case _:
            raise TypeError(f"sweep: there is no outcome of {type(measured).__name__}")


def _rounded(values: list[float]) -> tuple[float, ...]:
    return tuple(round(value, _DIGITS) for value in values)


def _validations(history: History) -> tuple[tuple[int, float, float, float], ...]:
    return tuple(
        (one.step, round(one.score, _DIGITS), round(one.interval, _DIGITS), round(one.seconds, 1))
        for one in history.validations
        if math.isfinite(one.score)
    )


def _step_seconds(history: History) -> float:
    """The median leaves out meta-validations and checkpoints, which fall between some steps."""
    between = [after.seconds - before.seconds for before, after in pairwise(history.steps)]
    return round(statistics.median(between), 6) if between else round(history.seconds, 6)


def state_bytes(cell: Cell, learner: Learner, tasks: int) -> int:
    """The bytes that a learner keeps of one stream after so many tasks; labels come again where there are
    more tasks than symbols.

    Args:
        cell: Whose data give shots and the shape of inputs.
        learner: To weigh.
        tasks: Read.
    """
    data, target = cell.experiment.data, cell.experiment.model.target
    if isinstance(target, ClassTarget):
        y = torch.arange(tasks).repeat_interleave(data.train_shots)[None] % target.vocab
    else:
        y = torch.zeros(1, tasks * data.train_shots, target.dim)
    x = torch.zeros(1, y.shape[1], *data.input_shape)
    with evaluation_mode(learner):
        return learner.observe(learner.init_state(), x, y).nbytes
