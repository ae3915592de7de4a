"""A run that stops and goes on is the run that never stopped, bit for bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from gaussian_episodes import GaussianEpisodes, gaussian_learner
from mambacl import AngleTarget, Episode, History, Learner, TrainConfig, VectorEncoder, meta_train
from mambacl.episodes import Episodes
from mambacl.errors import CheckpointError, ConfigError, NonFiniteError, RunError
from mambacl.runs import RunFolder, checkpoint
from mambacl.training import StepRecord
from mambacl.training.meta_train import read_history
from small_learners import DIM, assert_same, small_episode, tensors

CONFIG = TrainConfig(
    steps=12,
    batch_size=4,
    lr=1e-2,
    warmup_steps=3,
    validate_every=5,
    validation_episodes=4,
    checkpoint_every=3,
)
VARIANTS = {
    "adamw": {},
    "adam": {"optimiser": "adam", "schedule": "step", "decay_every": 4},
    "accumulation": {"accumulation": 2},
    "bfloat16": {"precision": "bfloat16"},
    "skip": {"non_finite": "skip"},
}


class Angles:
    """Episodes with vectors for targets."""

    def batch(self, first_index: int, batch_size: int) -> Episode:
        return small_episode(batch_size, target=AngleTarget(), seed=first_index)


def angle_learner() -> Learner:
    return gaussian_learner(encoder=VectorEncoder(DIM), target=AngleTarget(), selectivity=None)


def train(
    path: Path,
    config: TrainConfig = CONFIG,
    learner: Callable[[], Learner] = gaussian_learner,
    source: Episodes | None = None,
    validation: Episodes | None = None,
    **options: Any,
) -> History:
    """Trains in a folder, or goes on there with a learner that knows nothing."""
    return meta_train(
        learner(),
        source or GaussianEpisodes(0),
        config,
        validation=validation or GaussianEpisodes(1),
        run=RunFolder.resume(path, {"config": asdict(config)}),
        progress=False,
        **options,
    )


def newest(path: Path) -> dict[str, Tensor]:
    """Weights, running statistics and moments."""
    parts = checkpoint.read(RunFolder.open(path).find("last")).parts
    return {f"{part}/{name}": value for part, group in parts.items() for name, value in group.items()}


def untimed(history: History) -> History:
    return History(
        [replace(record, seconds=0.0) for record in history.steps],
        [replace(record, seconds=0.0) for record in history.validations],
    )


def assert_same_run(path: Path, whole: Path) -> None:
    """Tensors, log, best and the checkpoints that are kept."""
    assert_same(newest(path), newest(whole))
    one, other = RunFolder.open(path), RunFolder.open(whole)
    assert untimed(read_history(one)) == untimed(read_history(other))
    assert one.best() == other.best()
    assert [folder.name for folder in one.checkpoints()] == [folder.name for folder in other.checkpoints()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that never stops."""
    path = tmp_path_factory.mktemp("whole")
    history = train(path)
    assert [record.step for record in history.validations] == [5, 10, 12]
    return path


@pytest.mark.parametrize("variant", VARIANTS)
def test_stopped_at_a_step_and_resumed(tmp_path: Path, variant: str):
    config = replace(CONFIG, **VARIANTS[variant])
    uninterrupted = gaussian_learner()
    validation = GaussianEpisodes(1)
    expected = meta_train(uninterrupted, GaussianEpisodes(0), config, validation=validation, progress=False)
    for stop in (1, 5, 7, 12):
        history = train(tmp_path / "run", config, stop_at=stop)
        assert [record.step for record in history.steps] == list(range(1, stop + 1))
        assert RunFolder.open(tmp_path / "run").find("last").name == f"step-{stop:08d}"
    learned = checkpoint.read(RunFolder.open(tmp_path / "run").find("last"))
    assert_same(dict(learned.parts["model"]), tensors(uninterrupted))
    assert untimed(history) == untimed(expected)
    train(tmp_path / "whole", config)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_vectors_and_the_lowest_loss(tmp_path: Path):
    options: dict[str, Any] = {"learner": angle_learner, "source": Angles(), "validation": Angles()}
    history = train(tmp_path / "whole", **options)
    for stop in (2, 6, None):
        train(tmp_path / "run", stop_at=stop, **options)
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    lowest = min(history.validations, key=lambda record: record.score)
    best = RunFolder.open(tmp_path / "run").best()
    assert best == {"step": lowest.step, "score": lowest.score}
    assert lowest.score < max(record.score for record in history.validations)


def test_a_run_that_is_done_stays_as_it_is(tmp_path: Path, whole: Path):
    train(tmp_path)
    history = train(tmp_path)
    assert len(history.steps) == 12
    assert len(train(tmp_path, stop_at=4).steps) == 12
    assert_same_run(tmp_path, whole)


@pytest.mark.parametrize("stop_at", [0, -1, 13])
def test_a_stop_out_of_range(stop_at: int):
    with pytest.raises(ConfigError, match=r"`stop_at` must be from 1 to train\.steps = 12.*, got"):
        meta_train(gaussian_learner(), GaussianEpisodes(0), CONFIG, stop_at=stop_at, progress=False)


def send_at(step: int, *kinds: signal.Signals) -> Callable[[StepRecord], None]:
    """Sends signals when the step is told."""

    def on_step(record: StepRecord) -> None:
        if record.step == step:
            for kind in kinds:
                os.kill(os.getpid(), kind)

    return on_step


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [1, 4, 9, 12])
def test_interrupted_and_resumed(tmp_path: Path, whole: Path, step: int, kind: signal.Signals):
    before = signal.getsignal(kind)
    with pytest.raises(
        KeyboardInterrupt, match=r"saved at step [0-9]+ in .*; meta-training with the same run goes on"
    ):
        train(tmp_path, on_step=send_at(step, kind))
    assert signal.getsignal(kind) is before
    # A step is told when the next has been made, or a checkpoint is due.
    assert checkpoint.read(RunFolder.open(tmp_path).find("last")).step in (step, step + 1)
    train(tmp_path)
    assert_same_run(tmp_path, whole)


def test_interrupted_twice_stops_at_once(tmp_path: Path, whole: Path):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, on_step=send_at(8, signal.SIGINT, signal.SIGINT))
    assert checkpoint.read(RunFolder.open(tmp_path).find("last")).step == 6
    train(tmp_path)
    assert_same_run(tmp_path, whole)


def test_interrupted_before_the_first_step(tmp_path: Path, whole: Path):
    class Interrupting(GaussianEpisodes):
        def batch(self, first_index: int, batch_size: int) -> Episode:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, source=Interrupting(0))
    assert RunFolder.open(tmp_path).checkpoints() == []
    train(tmp_path)
    assert_same_run(tmp_path, whole)


def test_without_a_folder_an_interrupt_ends_the_step():
    learner = gaussian_learner()
    seen: list[int] = []

    def on_step(record: StepRecord) -> None:
        seen.append(record.step)
        send_at(4, signal.SIGINT)(record)

    with pytest.raises(KeyboardInterrupt, match="stopped after step 5"):
        meta_train(learner, GaussianEpisodes(0), CONFIG, progress=False, on_step=on_step)
    assert seen == [1, 2, 3, 4, 5]
    other = gaussian_learner()
    meta_train(other, GaussianEpisodes(0), CONFIG, stop_at=5, progress=False)
    assert_same(tensors(learner), tensors(other))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_interrupted_during_a_validation(tmp_path: Path, whole: Path, number: int):
    class Interrupting(GaussianEpisodes):
        """Sends Ctrl-C once, in the middle of a validation."""

        begun = 0
        ended = 0

        def batch(self, first_index: int, batch_size: int) -> Episode:
            type(self).begun += 1
            if self.begun == number:
                os.kill(os.getpid(), signal.SIGINT)
            type(self).ended += 1
            return super().batch(first_index, batch_size)

    step = [5, 10, 12][number - 1]
    with pytest.raises(KeyboardInterrupt, match=f"saved at step {step} in"):
        train(tmp_path, validation=Interrupting(1))
    assert (Interrupting.begun, Interrupting.ended) == (number, number - 1)
    assert checkpoint.read(RunFolder.open(tmp_path).find("last")).step == step
    assert len(read_history(RunFolder.open(tmp_path)).validations) == number - 1
    train(tmp_path)
    assert_same_run(tmp_path, whole)


def test_in_another_thread(tmp_path: Path, whole: Path):
    for stop in (5, None):
        thread = threading.Thread(target=train, args=(tmp_path,), kwargs={"stop_at": stop})
        thread.start()
        thread.join()
    assert_same_run(tmp_path, whole)


def test_an_error_of_the_caller_loses_nothing(tmp_path: Path, whole: Path):
    with pytest.raises(ZeroDivisionError):
        train(tmp_path, on_step=lambda record: record.step < 8 or 1 // 0)
    train(tmp_path)
    assert_same_run(tmp_path, whole)


def test_the_log_is_cut_at_the_checkpoint(tmp_path: Path, whole: Path):
    train(tmp_path, stop_at=7)
    log = tmp_path / "log.jsonl"
    complete = log.read_bytes()
    line = complete.splitlines()[-1]
    later = [json.dumps({**json.loads(line), "step": step}) for step in (8, 9)]
    log.write_bytes(complete + "\n".join(later).encode()[:-9])  # killed in the middle of a line
    train(tmp_path, stop_at=7)
    assert log.read_bytes() == complete
    train(tmp_path)
    assert_same_run(tmp_path, whole)


def test_without_a_checkpoint_a_run_begins_anew(tmp_path: Path, whole: Path):
    RunFolder.resume(tmp_path, {"config": asdict(CONFIG)})
    (tmp_path / "log.jsonl").write_text('{"step": 1, "old": true}\n{"st')
    train(tmp_path)
    assert_same_run(tmp_path, whole)


def test_a_log_that_lacks_a_step_is_told(tmp_path: Path):
    train(tmp_path, stop_at=4)
    log = tmp_path / "log.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[1:]))
    with pytest.raises(RunError, match=r"must have a record for each of 4 steps, got 3"):
        train(tmp_path)
    log.write_text('{"step": 1, "speed": 3}\n')
    with pytest.raises(
        RunError, match=r"log\.jsonl` is damaged or of another version: line 1 must be of a step"
    ):
        train(tmp_path)


def test_a_damaged_newest_checkpoint_is_told_with_the_one_before(tmp_path: Path, whole: Path):
    train(tmp_path, stop_at=7)
    broken = RunFolder.open(tmp_path).find("last")
    log = (tmp_path / "log.jsonl").read_bytes()
    (broken / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"is damaged.*; without that folder .* from `.*step-00000006`"):
        train(tmp_path)
    assert (tmp_path / "log.jsonl").read_bytes() == log
    shutil.rmtree(broken)
    train(tmp_path)
    assert_same_run(tmp_path, whole)


def test_another_number_of_threads_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    train(tmp_path, stop_at=1)
    threads = torch.get_num_threads()
    train(tmp_path, stop_at=2)
    assert not caplog.records
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads + 1)
    train(tmp_path, stop_at=3)
    assert f"the run had {threads} threads and goes on with {threads + 1}" in caplog.text


def test_validation_and_folder_leave_training_alone(whole: Path):
    torch.manual_seed(3)
    alone = gaussian_learner()
    meta_train(alone, GaussianEpisodes(0), CONFIG, progress=False)
    learned = checkpoint.read(RunFolder.open(whole).find("last")).parts["model"]
    assert_same(dict(learned), tensors(alone))


def test_seconds_go_on(tmp_path: Path):
    first = train(tmp_path, stop_at=3).seconds
    history = train(tmp_path, stop_at=6)
    seconds = [record.seconds for record in history.steps]
    assert seconds == sorted(seconds)
    assert history.steps[3].seconds > first


class Overflowing(GaussianEpisodes):
    """Queries of one step, counted from 1, are too large for float32."""

    step = 8

    def batch(self, first_index: int, batch_size: int) -> Episode:
        episode = super().batch(first_index, batch_size)
        large = first_index // CONFIG.batch_size + 1 == self.step
        return replace(episode, test_x=episode.test_x * 1e38) if large else episode


def test_a_gradient_that_is_not_finite_names_the_last_good_checkpoint(tmp_path: Path):
    place = r"the gradient .* at step 8, episodes 28 to 31; the last good checkpoint is `.*step-00000006`"
    for _ in range(2):  # it comes again: a run is exact
        with pytest.raises(NonFiniteError, match=place):
            train(tmp_path, source=Overflowing(0))
        assert all(value.isfinite().all() for value in newest(tmp_path).values())
        assert [record.step for record in read_history(RunFolder.open(tmp_path)).steps] == list(range(1, 8))


def test_a_skipped_step_is_logged_and_resumed(tmp_path: Path):
    config = replace(CONFIG, non_finite="skip")
    train(tmp_path / "whole", config, source=Overflowing(0))
    for stop in (8, None):
        history = train(tmp_path / "run", config, source=Overflowing(0), stop_at=stop)
    assert_same(newest(tmp_path / "run"), newest(tmp_path / "whole"))
    norms = torch.tensor([record.gradient_norm for record in history.steps])
    assert norms.isfinite().tolist() == [step != 8 for step in range(1, 13)]
    assert "NaN" not in (tmp_path / "run" / "log.jsonl").read_text()


def test_skips_in_a_row_are_counted_over_processes(tmp_path: Path):

    class Lost(Overflowing):
        """From step 4 on."""

        def batch(self, first_index: int, batch_size: int) -> Episode:
            self.__class__.step = max(4, first_index // CONFIG.batch_size + 1)
            return super().batch(first_index, batch_size)

    config = replace(CONFIG, non_finite="skip", skips_in_a_row=3)
    train(tmp_path, config, source=Lost(0), stop_at=5)
    place = (
        r"step 7, episodes 24 to 27, and 3 updates .* in a row; the last good checkpoint is `.*step-00000006`"
    )
    with pytest.raises(NonFiniteError, match=place):
        train(tmp_path, config, source=Lost(0))
    assert all(value.isfinite().all() for value in newest(tmp_path).values())


def events(path: Path, name: str) -> list[tuple[int, float]]:
    board = EventAccumulator(str(path / "tensorboard"), size_guidance={"scalars": 0})
    board.Reload()
    return [(event.step, event.value) for event in board.Scalars(name)]


def test_tensorboard_has_each_step_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def on_step(record: StepRecord) -> None:
        if record.step == 8:  # past the checkpoint of step 6: these events are of no run that goes on
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(tmp_path, on_step=on_step)
    train(tmp_path, stop_at=9)
    history = train(tmp_path)
    for name in ("loss", "accuracy", "penalty", "gradient_norm", "lr"):
        expected = [(record.step, getattr(record, name)) for record in history.steps]
        told = events(tmp_path, f"train/{name}")
        assert [step for step, _ in told] == [step for step, _ in expected]
        assert [value for _, value in told] == pytest.approx([value for _, value in expected])
    scores = [(record.step, record.score) for record in history.validations]
    assert events(tmp_path, "validation/score") == [(step, pytest.approx(score)) for step, score in scores]
