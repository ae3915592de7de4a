"""SIGKILL at random moments: the newest checkpoint is always whole, and the run goes on exactly."""

from __future__ import annotations

import multiprocessing
import random
import time
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from gaussian_episodes import GaussianEpisodes, gaussian_learner
from mambacl import TrainConfig, meta_train
from mambacl.runs import RunFolder, checkpoint
from mambacl.training.meta_train import read_history
from small_learners import assert_same, tensors

KILLS = 20
# More steps than there is time for, so that every kill meets a run that goes on.
CONFIG = TrainConfig(
    steps=100_000,
    batch_size=2,
    lr=1e-2,
    warmup_steps=3,
    schedule="constant",
    validate_every=7,
    validation_episodes=2,
    checkpoint_every=1,
)


def train(path: Path, ready: Connection | None = None, stop_at: int | None = None) -> None:
    """Trains in a folder, or goes on there."""
    torch.set_num_threads(1)
    learner, run = gaussian_learner(), RunFolder.resume(path, {})
    if ready is not None:
        ready.send("ready")
    validation = GaussianEpisodes(1)
    meta_train(
        learner, GaussianEpisodes(0), CONFIG, validation=validation, run=run, stop_at=stop_at, progress=False
    )


def test_killed_twenty_times(tmp_path: Path):
    moments = random.Random(0)
    # A server that has imported all once (an optimiser imports torch._dynamo); what it forks is killed.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mambacl", "torch._dynamo", "torch.utils.tensorboard"])
    run = RunFolder.create(tmp_path / "run", {})
    done: list[int] = []
    for _ in range(KILLS):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=train, args=(run.path, sender))
        process.start()
        assert receiver.recv() == "ready"
        time.sleep(moments.uniform(0.0, 0.7))
        assert process.is_alive()
        process.kill()
        process.join()
        receiver.close()
        sender.close()
        saved = run.checkpoints()
        if saved:
            done.append(checkpoint.read(saved[-1]).step)
            steps = [record["step"] for record in run.log.read() if "loss" in record]
            assert steps[: done[-1]] == list(range(1, done[-1] + 1))  # the log never knows less
            checkpoint.read(run.find("best"))
    assert done == sorted(done)
    assert len(set(done)) > KILLS // 4  # it did go on in between
    last = done[-1] + 3
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        train(run.path, stop_at=last)
        whole = gaussian_learner()
        expected = meta_train(
            whole, GaussianEpisodes(0), CONFIG, validation=GaussianEpisodes(1), stop_at=last, progress=False
        )
    finally:
        torch.set_num_threads(threads)
    learned = checkpoint.read(run.find("last"))
    assert learned.step == last
    assert_same(dict(learned.parts["model"]), tensors(whole))
    history = read_history(run)
    assert [(record.step, record.loss) for record in history.steps] == [
        (record.step, record.loss) for record in expected.steps
    ]
    assert [(record.step, record.score) for record in history.validations] == [
        (record.step, record.score) for record in expected.validations
    ]
    assert not list(run.path.rglob("*.partial"))
    assert len(run.checkpoints()) <= CONFIG.keep + 1
