"""What each rank of `test_distributed.py` runs: `torchrun train_on_ranks.py FOLDER JSON`.

Of the JSON, `config` is of `TrainConfig`; `fail`, `kill` and `interrupt` are [rank, step] of what happens
there, and `poison` the step whose last episode is too large for float32.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from gaussian_episodes import GaussianEpisodes, gaussian_learner
from mambacl import Episode, TrainConfig, meta_train
from mambacl.config import PerformerMixer
from mambacl.errors import MambaclError
from mambacl.runs import RunFolder
from mambacl.training import StepRecord
from mambacl.training.distributed import Ranks, joined


class Poisoned(GaussianEpisodes):
    """Episodes of which one is too large for float32: one rank alone has it."""

    last = -1

    def batch(self, first_index: int, batch_size: int) -> Episode:
        episode = super().batch(first_index, batch_size)
        hit = first_index <= self.last < first_index + batch_size
        return replace(episode, test_x=episode.test_x * 1e38) if hit else episode


def train(ranks: Ranks, folder: Path, told: dict[str, Any]) -> None:
    config = TrainConfig(**told["config"])
    Poisoned.last = told["poison"] * config.batch_size - 1 if "poison" in told else -1
    learner = gaussian_learner(**({"mixer": PerformerMixer(n_head=4)} if told.get("performer") else {}))

    def on_step(record: StepRecord) -> None:
        here = [ranks.rank, record.step]
        if told.get("fail") == here:
            raise ZeroDivisionError("of this rank alone")
        if told.get("kill") == here:
            os.kill(os.getpid(), signal.SIGKILL)
        if told.get("interrupt") == here:
            os.kill(os.getpid(), signal.SIGTERM)

    settings = {"config": told["config"]}
    with ranks.first_before_others():
        run = RunFolder.resume(folder, settings) if ranks.leads else RunFolder.open(folder)
    meta_train(
        learner,
        Poisoned(0),
        config,
        validation=GaussianEpisodes(1),
        run=run,
        stop_at=told.get("stop_at"),
        progress=False,
        on_step=on_step,
    )
    mine = [value.double().sum() for value in learner.state_dict().values()]
    first = ranks.told(mine)
    assert mine == first, "the ranks came apart"


if __name__ == "__main__":
    torch.set_num_threads(1)
    with joined() as ranks:
        try:
            train(ranks, Path(sys.argv[1]), json.loads(sys.argv[2]))
        except (MambaclError, KeyboardInterrupt) as error:
            sys.exit(f"rank {ranks.rank}: {type(error).__name__}: {error}")
