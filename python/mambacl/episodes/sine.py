"""Sine regression, a benchmark of CL-as-Seq (arXiv:2310.11952): from one wave to another."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mambacl import _core
from mambacl.data.splits import Split
from mambacl.episodes.episode import Episode
from mambacl.episodes.protocols import check_indices
from mambacl.episodes.sizes import EpisodeSizes
from mambacl.errors import InvalidValueError

POINTS = 50
"""Number of points of a wave."""

NOISE = 0.1
"""Standard deviation of the noise on inputs."""


@dataclass(frozen=True, eq=False)
class SineEpisodes:
    """Draws episodes of sine regression, a pure function of (seed, split, index).

    A task is a frequency w and two phases p, q. An example of it is an amplitude a, on the grid t of 50
    points from 0 to 10:

    ```text
    x = a sin(w t + p) + noise     w ~ U(0.1, 1.1)    p, q ~ U(0, 2 pi)
    y = a sin(w t + q)             a ~ U(0.5, 1.5)    noise ~ N(0, 0.1), of each point
    ```

    The x of a query determines w and a; q must be remembered. Unlike in CL-as-Seq, the noise is not scaled by
    the amplitude, and the sizes of episodes differ. A larger episode contains the tasks and examples of a
    smaller one.

    Attributes:
        spec: Sizes of an episode.
        seed: Seed, 0 to 2^64 - 1.
        split: Split; episodes of different splits are independent.

    Examples:
        >>> source = SineEpisodes(EpisodeSizes(tasks=3, train_shots=2, test_shots=1), 0, "train")
        >>> episode = source.batch(0, 4)
        >>> episode.train_x.shape, episode.test_y.shape, episode.train_task[0].tolist()
        (torch.Size([4, 6, 50]), torch.Size([4, 3, 50]), [0, 0, 1, 1, 2, 2])
        >>> torch.equal(source.batch(2, 1).train_y, episode.train_y[2:3])
        True
    """

    spec: EpisodeSizes
    seed: int
    split: Split

    def batch(self, first_index: int, batch_size: int) -> Episode:
        """Episodes `first_index` to `first_index + batch_size - 1`.

        Returns:
            The episodes. Inputs and targets are waves, (batch, T, 50) and (batch, Q, 50) float32, task after
            task. The codebook is empty.

        Raises:
            InvalidValueError: If the batch is empty, the seed or an index is out of range, or a size is below
                1.
        """
        check_indices("SineEpisodes", self.seed, first_index, batch_size)
        spec = self.spec
        for name, size in (
            ("tasks", spec.tasks),
            ("train_shots", spec.train_shots),
            ("test_shots", spec.test_shots),
        ):
            if size < 1:
                raise InvalidValueError(f"SineEpisodes: `spec.{name}` must be at least 1, got {size}")
        indices = range(first_index, first_index + batch_size)
        tasks = self._uniforms("task", indices, 3)  # (batch, tasks, 3)
        train_x, train_y = _waves(tasks, self._shots("train", indices, spec.train_shots))
        test_x, test_y = _waves(tasks, self._shots("test", indices, spec.test_shots))
        order = torch.arange(spec.tasks)
        return Episode(
            train_x,
            train_y,
            test_x,
            test_y,
            codebook=torch.zeros(batch_size, 0, dtype=torch.int64),
            train_task=order.repeat_interleave(spec.train_shots).repeat(batch_size, 1),
            test_task=order.repeat_interleave(spec.test_shots).repeat(batch_size, 1),
        )

    def _shots(self, part: str, indices: range, shots: int) -> Tensor:
        """Uniform numbers, (batch, tasks, shots, 1 + POINTS): of the amplitude, then of each point."""
        numbers = self._uniforms(part, indices, shots * (1 + POINTS))
        return numbers.view(*numbers.shape[:2], shots, 1 + POINTS)

    def _uniforms(self, part: str, indices: range, count: int) -> Tensor:
        """Uniform numbers, (batch, tasks, count) float64 in [0, 1). Each task has its own stream of numbers,
        so that more tasks or shots do not change the others."""
        streams = [f"{self.split}/sine/{part}/{task}" for task in range(self.spec.tasks)]
        drawn = [_core.uniforms(self.seed, stream, index, count) for index in indices for stream in streams]
        return torch.stack(drawn).double().view(len(indices), self.spec.tasks, count)


def _waves(tasks: Tensor, shots: Tensor) -> tuple[Tensor, Tensor]:
    """Waves x and y, (batch, tasks * shots, POINTS) float32, from uniform numbers of tasks, (batch, tasks,
    3), and of examples, (batch, tasks, shots, 1 + POINTS)."""
    frequency = 0.1 + tasks[:, :, :1]
    x_phase, y_phase = (2 * math.pi * tasks[:, :, 1:]).split(1, dim=-1)
    amplitude = 0.5 + shots[..., :1]  # (batch, tasks, shots, 1)
    angle = frequency * torch.linspace(0, 10, POINTS, dtype=torch.float64)  # (batch, tasks, POINTS)
    x = amplitude * torch.sin(angle + x_phase).unsqueeze(2) + NOISE * _normals(shots[..., 1:])
    y = amplitude * torch.sin(angle + y_phase).unsqueeze(2)
    return x.flatten(1, 2).float(), y.flatten(1, 2).float()


def _normals(uniforms: Tensor) -> Tensor:
    """Standard normal numbers by the Box-Muller transform of uniform ones in [0, 1), (..., even)."""
    first, second = uniforms.chunk(2, dim=-1)
    radius, angle = (-2 * torch.log1p(-first)).sqrt(), 2 * math.pi * second
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=-1)
