"""What learners cost: parameters, bytes of the state, and time, several learners timed in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mambacl import _core
from mambacl.bench.timing import Times, interleaved
from mambacl.config import ClassTarget
from mambacl.errors import TorchError
from mambacl.evaluation.protocol import evaluation_mode
from mambacl.experiments.experiment import Experiment
from mambacl.learner import Learner
from mambacl.settings import Settings
from mambacl.state import LearnerState
from mambacl.sweeps.pace import live
from mambacl.training.trainer import Trainer

_PIECE = 100
"""Examples read at a time between two marks: attention needs memory for each of them times all before."""


@dataclass(frozen=True)
class Mark(Settings):
    """A learner after so much of one stream.

    Attributes:
        tasks: Read.
        examples: Read.
        state_bytes: Of its state, codebook included.
        observe: Seconds of reading one more example.
        predict: Seconds of answering one query; None before any example.
    """

    tasks: int
    examples: int
    state_bytes: int
    observe: float
    predict: float | None


@dataclass(frozen=True)
class Cost(Settings):
    """What a learner costs.

    Attributes:
        device: It was timed on.
        threads: Of the process.
        simd: Level of the CPU kernels.
        parameters: Numbers that training adjusts.
        without_encoder: Of them, those that are no part of the encoder.
        inference: Episodes read and answered in a second.
        episodes: Read and answered at a time.
        training: Episodes trained on in a second, their drawing included; None where that was not timed.
        marks: Along one stream; empty where that was not measured.
    """

    device: str
    threads: int
    simd: str
    parameters: int
    without_encoder: int
    inference: float
    episodes: int
    training: float | None = None
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Timed:
    """How learners are timed.

    Attributes:
        turns: In each of which every learner is timed.
        singles: The same of single examples and queries.
        episodes: Read and answered at a time.
    """

    turns: int
    singles: int
    episodes: int


def costs(
    experiments: Mapping[str, Experiment],
    timed: Timed,
    device: torch.device,
    *,
    training: bool = False,
    tasks: Sequence[int] = (),
) -> dict[str, Cost]:
    """Measures learners as they are before training, beside one another.

    Args:
        experiments: Whose learners, by name.
        timed: How.
        device: On which; learners without kernels there are left out.
        training: Whether to time training.
        tasks: Of one stream after which each is weighed and timed, in rising order.

    Returns:
        By name.
    """
    learners = {name: experiment.learner(0).to(device) for name, experiment in experiments.items()}
    if device.type != "cpu":
        learners = {name: learner for name, learner in learners.items() if runs(experiments[name], learner)}
    lives = _interleaved(
        {name: live(experiments[name], one, timed.episodes) for name, one in learners.items()},
        timed.turns,
        device,
    )
    steps = None
    if training:
        steps = _interleaved(
            {name: _trainer(experiments[name], device).step for name in learners}, timed.turns, device
        )
    marks = along(experiments, learners, tasks, timed.singles, device) if tasks else {}
    return {
        name: Cost(
            device=device.type,
            threads=torch.get_num_threads(),
            simd=_core.simd_level(),
            parameters=sum(parameter.numel() for parameter in learner.parameters()),
            without_encoder=sum(
                parameter.numel()
                for place, parameter in learner.named_parameters()
                if not place.startswith("encoder.")
            ),
            inference=round(timed.episodes / lives.median(name), 2),
            episodes=timed.episodes,
            training=None
            if steps is None
            else round(experiments[name].train.batch_size / steps.median(name), 2),
            marks=tuple(marks.get(name, ())),
        )
        for name, learner in learners.items()
    }


def runs(experiment: Experiment, learner: Learner) -> bool:
    """Whether there are kernels for a learner where it lies."""
    try:
        live(experiment, learner, 1)()
    except (NotImplementedError, TorchError):
        return False
    return True


def along(
    experiments: Mapping[str, Experiment],
    learners: Mapping[str, Learner],
    tasks: Sequence[int],
    turns: int,
    device: torch.device,
) -> dict[str, list[Mark]]:
    """Weighs and times learners along one stream of random inputs, task after task; labels come again
    where there are more tasks than symbols. A state is a value: what is timed does not go into it.

    Args:
        experiments: Whose data give shots and the shape of inputs, by the learner's name.
        learners: To weigh and time.
        tasks: Read before each mark, in rising order.
        turns: In each of which every learner reads one example, or answers one query.
        device: On which they are.

    Returns:
        A mark for each of `tasks`, by name.
    """
    states = {name: learner.init_state(seed=0) for name, learner in learners.items()}
    marks: dict[str, list[Mark]] = {name: [] for name in learners}
    for before, after in zip((0, *tasks), tasks, strict=False):
        for name, learner in learners.items():
            with evaluation_mode(learner):
                for x, y in _pieces(experiments[name], learner, before, after):
                    states[name] = learner.observe(states[name], x, y)
        ones = {
            name: next(_pieces(experiments[name], one, after, after + 1)) for name, one in learners.items()
        }
        observing = {name: _observing(one, states[name], ones[name]) for name, one in learners.items()}
        observe = _interleaved(observing, turns, device)
        predict = None
        if after > 0:
            predicting = {name: _predicting(one, states[name], ones[name]) for name, one in learners.items()}
            predict = _interleaved(predicting, turns, device)
        for name in learners:
            mark = Mark(
                tasks=after,
                examples=states[name].examples,
                state_bytes=states[name].nbytes,
                observe=round(observe.median(name), 8),
                predict=None if predict is None else round(predict.median(name), 8),
            )
            marks[name].append(mark)
    return marks


def _pieces(
    experiment: Experiment, learner: Learner, first: int, last: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Tasks `first` to `last - 1` of a stream, some examples at a time."""
    data, target = experiment.data, experiment.model.target
    assert isinstance(target, ClassTarget)
    y = torch.arange(first, last).repeat_interleave(data.train_shots)[None] % target.vocab
    generator = torch.Generator().manual_seed(first)
    for labels in y.split(_PIECE, dim=1) if last > first else ():
        x = torch.randn(1, labels.shape[1], *data.input_shape, generator=generator)
        yield x.to(learner.device), labels.to(learner.device)


def _observing(learner: Learner, state: LearnerState, piece: tuple[Tensor, Tensor]) -> Callable[[], object]:
    x, y = piece[0][:, :1], piece[1][:, :1]

    def observe() -> None:
        with evaluation_mode(learner):
            learner.observe(state, x, y)

    return observe


def _predicting(learner: Learner, state: LearnerState, piece: tuple[Tensor, Tensor]) -> Callable[[], object]:
    x = piece[0][:, :1]

    def predict() -> None:
        with evaluation_mode(learner):
            learner.predict(state, x)

    return predict


def _trainer(experiment: Experiment, device: torch.device) -> Trainer:
    return Trainer(experiment.learner(0).to(device), experiment.source("train", 0), experiment.train)


def _interleaved(cases: Mapping[str, Callable[[], object]], turns: int, device: torch.device) -> Times:
    """On a GPU the work is waited for."""
    if device.type != "cuda":
        return interleaved(cases, turns)

    def waited(case: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            case()
            torch.cuda.synchronize(device)

        return run

    return interleaved({name: waited(case) for name, case in cases.items()}, turns)
