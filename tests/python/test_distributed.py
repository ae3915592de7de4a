"""Ranks, as torchrun starts them: the updates of one process, and one end for all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import train_on_ranks
from mambacl import TrainConfig
from mambacl.errors import ConfigError
from mambacl.runs import RunFolder, checkpoint
from mambacl.training.distributed import Ranks
from mambacl.training.meta_train import read_history

CONFIG = {
    "steps": 6,
    "batch_size": 8,
    "accumulation": 2,
    "lr": 1e-2,
    "clip_norm": 0.1,  # below the gradient's norm
    "warmup_steps": 2,
    "validate_every": 4,
    "validation_episodes": 4,
    "checkpoint_every": 2,
}


def train(ranks: int, folder: Path, config: dict[str, Any] = CONFIG, **told: Any) -> str:
    """Trains in a folder, and gives what all ranks said when they did not end well."""
    told = {"config": config, **told}
    if ranks == 1:
        train_on_ranks.train(Ranks(), folder, told)
        return ""
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(ranks)]
    done = subprocess.run(
        [sys.executable, *launcher, train_on_ranks.__file__, str(folder), json.dumps(told)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if done.returncode == 0:
        assert done.stderr == ""  # neither warnings
        return ""
    return done.stderr


def newest(folder: Path) -> dict[str, Tensor]:
    parts = checkpoint.read(RunFolder.open(folder).find("last")).parts
    return {f"{part}/{name}": value for part, group in parts.items() for name, value in group.items()}


def distance(one: Path, other: Path) -> float:
    """The largest difference of weights and running statistics."""
    a, b = newest(one), newest(other)
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a if name.startswith("model/"))


def measured(folder: Path) -> list[Any]:
    """All that the log has but times."""
    tables = [asdict(one) for part in records(folder) for one in part]
    return [value for table in tables for name, value in table.items() if name != "seconds"]


def records(folder: Path) -> tuple[list[Any], list[Any]]:
    history = read_history(RunFolder.open(folder))
    return history.steps, history.validations


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As the ranks have."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    assert train(1, folder) == ""
    return folder


def test_two_ranks_train_as_one_process(tmp_path: Path, alone: Path):
    assert train(2, tmp_path) == ""
    assert distance(tmp_path, alone) < 1e-5
    assert measured(tmp_path) == pytest.approx(measured(alone), rel=1e-4, nan_ok=True)
    assert all(record.gradient_norm > CONFIG["clip_norm"] for record in records(tmp_path)[0])
    assert (
        checkpoint.read(RunFolder.open(tmp_path).find("last")).facts
        == checkpoint.read(RunFolder.open(alone).find("last")).facts
    )


def test_statistics_are_those_of_a_part(tmp_path: Path, alone: Path):
    """So without accumulation ranks do what one process does with as many parts, and not what it does with
    one: other parts are another normalisation, by far more than rounding."""
    whole = {**CONFIG, "accumulation": 1}
    assert train(2, tmp_path / "ranks", whole) == ""
    assert train(1, tmp_path / "one", whole) == ""
    assert distance(tmp_path / "ranks", alone) < 1e-5
    assert distance(tmp_path / "one", alone) > 1e-3


def test_what_a_learner_draws_at_each_step_is_the_same_on_all_ranks(tmp_path: Path):
    for ranks in (1, 2):
        assert train(ranks, tmp_path / str(ranks), performer=True, stop_at=4) == ""
    assert distance(tmp_path / "1", tmp_path / "2") < 1e-5


def test_a_run_goes_on_with_another_number_of_ranks(tmp_path: Path, alone: Path):
    for ranks, stop_at in ((1, 1), (2, 3), (1, None)):
        assert train(ranks, tmp_path, stop_at=stop_at) == ""
    assert distance(tmp_path, alone) < 1e-5
    assert measured(tmp_path) == pytest.approx(measured(alone), rel=1e-4)


@pytest.mark.parametrize("rank", [0, 1])
def test_an_interrupt_of_one_rank_stops_all_and_saves(tmp_path: Path, alone: Path, rank: int):
    told = train(2, tmp_path, interrupt=[rank, 2])
    assert f"rank {rank}: KeyboardInterrupt: " in told
    saved = checkpoint.read(RunFolder.open(tmp_path).find("last")).step
    assert saved == 2
    assert len(records(tmp_path)[0]) == saved
    assert train(1, tmp_path) == ""
    assert distance(tmp_path, alone) < 1e-5


@pytest.mark.parametrize(("end", "rank"), [("fail", 1), ("kill", 0)])
def test_a_rank_that_ends_is_the_end_of_the_others(tmp_path: Path, alone: Path, end: str, rank: int):
    told = train(2, tmp_path, **{end: [rank, 3]})
    assert f"rank {1 - rank}: RunError: train: rank {1 - rank} lost the others" in told
    assert ("ZeroDivisionError: of this rank alone" in told) == (end == "fail")
    assert checkpoint.read(RunFolder.open(tmp_path).find("last")).step == 2
    assert train(1, tmp_path) == ""
    assert distance(tmp_path, alone) < 1e-5


def test_what_is_not_finite_on_one_rank_stops_all(tmp_path: Path):
    told = train(2, tmp_path, poison=5)
    place = "train: the gradient is not finite at step 5, episodes 32 to 39"
    assert f"rank 0: NonFiniteError: {place}; the last good checkpoint is `{tmp_path}" in told
    assert "step-00000004`" in told
    assert f"rank 1: NonFiniteError: {place}" in told


def test_what_is_not_finite_on_one_rank_is_skipped_by_all(tmp_path: Path):
    config = {**CONFIG, "non_finite": "skip"}
    for ranks in (1, 2):
        assert train(ranks, tmp_path / str(ranks), config, poison=5) == ""
    assert distance(tmp_path / "1", tmp_path / "2") < 1e-5
    assert [one.skipped for one in records(tmp_path / "2")[0]] == [False] * 4 + [True, False]


def test_ctrl_c_of_torchrun_stops_all_and_saves(tmp_path: Path):
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m"),
        *("mambacl", "train", "glyphs-mamba", "--set", "data.tasks=2", "--set", "data.train_shots=1"),
        *("--set", "model.d_model=16", "--set", "train.batch_size=2", "--quiet", "--run-dir", str(tmp_path)),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        log = tmp_path / "log.jsonl"
        while not (log.exists() and log.stat().st_size):
            assert running.poll() is None
            time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        _, told = running.communicate()
    assert running.returncode != 0
    said = f"mambacl: stopped; saved in {tmp_path}; the same command with --resume goes on"
    assert told.count(said) == 1
    run = RunFolder.open(tmp_path)
    with run.locked():
        assert checkpoint.read(run.find("last")).step == run.log.last_step()


@pytest.mark.parametrize(
    ("size", "accumulation", "expected"),
    [
        (1, 1, [[(0, 12)]]),
        (1, 3, [[(0, 4), (4, 8), (8, 12)]]),
        (2, 1, [[(0, 6)], [(6, 12)]]),
        (2, 4, [[(0, 3), (3, 6)], [(6, 9), (9, 12)]]),
        (2, 3, [[(0, 2), (2, 4), (4, 6)], [(6, 8), (8, 10), (10, 12)]]),
    ],
)
def test_parts_are_shared_in_order(size: int, accumulation: int, expected: list[list[tuple[int, int]]]):
    config = TrainConfig(batch_size=12, accumulation=accumulation)
    shares = [Ranks(rank, size).share(config) for rank in range(size)]
    assert [[(part.start, part.stop) for part in share] for share in shares] == expected


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(ConfigError, match=r"`batch_size` must be a multiple of 5, for 5 ranks .*, got 12"):
        Ranks(0, 5).share(TrainConfig(batch_size=12))
    with pytest.raises(ConfigError, match=r"a multiple of 12, for 4 ranks and an `accumulation` of 3, got 6"):
        Ranks(0, 4).share(TrainConfig(batch_size=6, accumulation=3))


def test_alone_nothing_is_exchanged():
    ranks = Ranks.here()
    assert (ranks.rank, ranks.size, ranks.leads) == (0, 1, True)
    layer, values = torch.nn.Linear(2, 2), [torch.ones(2)]
    assert ranks.wrapped(layer) is layer
    assert ranks.mean(values) == values
    assert ranks.told([1.0, 2.0]) == [1.0, 2.0]
    assert [ranks.any(flag) for flag in (False, True)] == [False, True]
