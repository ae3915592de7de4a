"""Ranks: processes that share the episodes of every update, as torchrun starts them.

The gradient of an update is the mean over its parts. One process reads them one after another, as many as
`train.accumulation` says; ranks read them at the same time. So N ranks do what one process does with as many
parts.
"""

from __future__ import annotations

import contextlib
import gc
import math
import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mambacl.errors import ConfigError, MambaclError, RunError
from mambacl.training.config import TrainConfig

_PATIENCE = timedelta(hours=12)
"""Of ranks that wait for the first, which prepares data and validates. One that ends is noticed at once."""


@dataclass(frozen=True)
class Ranks:
    """The processes that train together, seen from one of them.

    Attributes:
        rank: Of this process, from 0.
        size: How many there are; 1 outside of a process group.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def here(cls) -> Ranks:
        """Those of the default process group of torch.distributed; alone where there is none."""
        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes, tells and validates."""
        return self.rank == 0

    def share(self, config: TrainConfig) -> list[range]:
        """The parts of an update that this rank reads, one after another: each a range of its episodes,
        counted from 0.

        There are as many parts as `accumulation` asks for, or the least multiple of it that ranks can share.

        Raises:
            ConfigError: If they cannot have the same number of episodes.
        """
        parts = math.lcm(config.accumulation, self.size)
        if config.batch_size % parts:
            raise ConfigError(
                f"train: `batch_size` must be a multiple of {parts}, for {self.size} ranks and an "
                f"`accumulation` of {config.accumulation}, got {config.batch_size}"
            )
        episodes, own = config.batch_size // parts, parts // self.size
        first = self.rank * own
        return [range(part * episodes, (part + 1) * episodes) for part in range(first, first + own)]

    def wrapped(self, learner: nn.Module) -> nn.Module:
        """The learner as a module whose gradients are means over ranks; itself where there is one."""
        if self.size == 1:
            return learner
        with self._together():
            # Every parameter takes part in every step, of any learner.
            return DistributedDataParallel(learner)

    @contextlib.contextmanager
    def backward(self, model: nn.Module, last: bool) -> Generator[None, None, None]:
        """For a forward and a backward pass of what `wrapped` gave: gradients are averaged in the last of an
        update."""
        if not isinstance(model, DistributedDataParallel):
            yield
        else:
            with self._together(), contextlib.nullcontext() if last else model.no_sync():
                yield

    def mean(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The mean of each tensor over ranks; of one device and dtype."""
        if self.size == 1 or not tensors:
            return list(tensors)
        flat = torch.cat([tensor.flatten() for tensor in tensors]) / self.size
        with self._together():
            dist.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]

    def any(self, flag: bool) -> bool:
        """Whether any rank says so."""
        if self.size == 1:
            return flag
        said = torch.tensor(int(flag))
        with self._together():
            dist.all_reduce(said, dist.ReduceOp.MAX)
        return bool(said)

    def told(self, numbers: Sequence[float]) -> list[float]:
        """What the first rank says; all must say as many."""
        if self.size == 1:
            return list(numbers)
        said = torch.tensor(numbers, dtype=torch.float64)
        with self._together():
            dist.broadcast(said, 0)
        return said.tolist()

    def wait(self) -> None:
        """Until all ranks are here."""
        self.any(False)

    @contextlib.contextmanager
    def first_before_others(self) -> Generator[None, None, None]:
        """The first rank goes through alone, and then the others: they find what it has made."""
        if not self.leads:
            self.wait()
        yield
        if self.leads:
            self.wait()

    @contextlib.contextmanager
    def _together(self) -> Generator[None, None, None]:
        """Around what all ranks do together: another one's end is an error here."""
        try:
            yield
        except MambaclError:
            raise
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0].partition(". ")[0]
            raise RunError(
                f"train: rank {self.rank} lost the others; the one that ended first has told why ({reason})"
            ) from error


@contextlib.contextmanager
def joined() -> Generator[Ranks, None, None]:
    """Joins the processes that torchrun started with this one; alone where it did not start it.

    Tensors of a CPU are exchanged by gloo, those of a GPU by nccl.
    """
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        yield Ranks()
        return
    backend = "gloo"
    if torch.cuda.is_available() and dist.is_nccl_available():
        own = int(os.environ["LOCAL_RANK"])
        if own < torch.cuda.device_count():  # more ranks than GPUs may train on the CPU
            torch.cuda.set_device(own)
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, timeout=_PATIENCE)
    ranks = Ranks.here()
    yield ranks
    # Not after an error: those that are lost would be waited for.
    ranks.wait()  # one that ends while another still talks can be torn down in the middle of it
    gc.collect()  # a wrapped learner is in cycles, and keeps the group's threads until the process ends
    dist.destroy_process_group()
