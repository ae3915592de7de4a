"""A batch of episodes: its tensors and their checks."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from mambacl.devices import sent
from mambacl.errors import DataError, DeviceError, DtypeError, ShapeError


@dataclass(frozen=True, eq=False)
class Episode:
    """A batch of episodes: a labelled stream to read in order, then queries to answer one by one.

    T is the length of the stream, Q the number of queries.

    Attributes:
        train_x: Inputs of the stream, (batch, T, ...) floating point.
        train_y: Targets of the stream: labels 0, 1, ... in the order in which classes first appear,
            (batch, T) int64; or vectors, (batch, T, dim_y) floating point.
        test_x: Inputs of the queries, (batch, Q, ...), otherwise as `train_x`.
        test_y: Targets of the queries, (batch, Q) or (batch, Q, dim_y), as `train_y`.
        codebook: Symbols of the labels, (batch, vocab) int64: the learner sees label `l` of episode `b` as
            symbol `codebook[b, l]`. Each row is a permutation of the vocabulary. With vector targets
            (batch, 0).
        train_task: Task of each example of the stream, (batch, T) int64; None if `train_y` is the task.
        test_task: Task of each query, (batch, Q) int64; None if `test_y` is the task.
    """

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor
    codebook: Tensor
    train_task: Tensor | None = None
    test_task: Tensor | None = None

    @property
    def batch_size(self) -> int:
        """The number of episodes."""
        return len(self.train_x)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Episode:
        """The same episodes on another device.

        Args:
            device: Target device.
            non_blocking: Whether to return before the copy ends; a copy from CPU to GPU uses pinned memory.
        """
        moved = {
            name: sent(tensor, device) if non_blocking else tensor.to(device)
            for name, tensor in self._tensors()
        }
        return dataclasses.replace(self, **moved)

    def validate(self) -> Episode:
        """Checks that the tensors fit together, and returns the episodes.

        Raises:
            ShapeError: If the stream or the queries are empty, or shapes do not fit together.
            DtypeError: If inputs are not floating point, or labels, tasks or the codebook are not int64.
            DeviceError: If the tensors lie on different devices.
            DataError: If an input or vector target is NaN or infinite, a label lies outside the
                vocabulary, or a row of the codebook is not a permutation.

        Examples:
            >>> x, y = torch.randn(1, 4, 8), torch.tensor([[0, 0, 1, 1]])
            >>> Episode(x, y, x, y, codebook=torch.arange(16)[None]).validate().batch_size
            1
            >>> Episode(x, y + 15, x, y, codebook=torch.arange(16)[None]).validate()
            Traceback (most recent call last):
            ...
            mambacl.errors.DataError: Episode: `train_y` must hold labels from 0 to 15, got 15 to 16
        """
        self._check_devices()
        self._check_inputs()
        self._check_codebook()
        self._check_targets("train", self.train_x, self.train_y, self.train_task)
        self._check_targets("test", self.test_x, self.test_y, self.test_task)
        return self

    def _tensors(self) -> list[tuple[str, Tensor]]:
        fields = [(field.name, getattr(self, field.name)) for field in dataclasses.fields(self)]
        return [(name, tensor) for name, tensor in fields if tensor is not None]

    def _check_devices(self) -> None:
        expected = self.train_x.device
        for name, tensor in self._tensors():
            if tensor.device != expected:
                raise DeviceError(f"Episode: `{name}` must be on {expected}, got {tensor.device}")

    def _check_inputs(self) -> None:
        for name, x in (("train_x", self.train_x), ("test_x", self.test_x)):
            if x.ndim < 3 or 0 in x.shape:
                raise ShapeError(
                    f"Episode: `{name}` must have shape (batch, length, ...) and not be empty, "
                    f"got {tuple(x.shape)}"
                )
            if not x.is_floating_point():
                raise DtypeError(f"Episode: `{name}` must be floating point, got {x.dtype}")
            _check_finite(name, x)
        expected = (self.batch_size, self.test_x.shape[1], *self.train_x.shape[2:])
        if self.test_x.shape != expected:
            raise ShapeError(
                f"Episode: `test_x` must have shape {expected}, as `train_x`, got {tuple(self.test_x.shape)}"
            )

    def _check_codebook(self) -> None:
        codebook = self.codebook
        if codebook.ndim != 2 or len(codebook) != self.batch_size:
            raise ShapeError(
                f"Episode: `codebook` must have shape ({self.batch_size}, vocab), got {tuple(codebook.shape)}"
            )
        if codebook.dtype != torch.int64:
            raise DtypeError(f"Episode: `codebook` must be int64, got {codebook.dtype}")
        symbols = torch.arange(codebook.shape[1], device=codebook.device)
        wrong = (codebook.sort(dim=1).values != symbols).any(1)
        if wrong.any():
            raise DataError(
                "Episode: each row of `codebook` must be a permutation of the vocabulary, "
                f"got another in episode {int(wrong.nonzero()[0])}"
            )

    def _check_targets(self, part: str, x: Tensor, y: Tensor, task: Tensor | None) -> None:
        if y.dtype != self.train_y.dtype:
            raise DtypeError(f"Episode: `{part}_y` must be {self.train_y.dtype}, as `train_y`, got {y.dtype}")
        if y.is_floating_point():
            dim_y = self.train_y.shape[-1]
            if y.ndim != 3 or y.shape != (*x.shape[:2], dim_y):
                expected = f"({x.shape[0]}, {x.shape[1]}, {dim_y if part == 'test' else 'dim_y'})"
                raise ShapeError(f"Episode: `{part}_y` must have shape {expected}, got {tuple(y.shape)}")
            _check_finite(f"{part}_y", y)
        else:
            _check_labels(f"{part}_y", y, x, self.codebook.shape[1])
        if task is not None:
            _check_labels(f"{part}_task", task, x, None)


def _check_finite(name: str, tensor: Tensor) -> None:
    if not tensor.isfinite().all():
        raise DataError(f"Episode: `{name}` must be finite, got NaN or infinity")


def _check_labels(name: str, labels: Tensor, x: Tensor, vocab: int | None) -> None:
    """Checks that there is one label for each example of `x`, from 0 to `vocab - 1` (None: no limit)."""
    if labels.dtype != torch.int64:
        raise DtypeError(f"Episode: `{name}` must be int64, got {labels.dtype}")
    if labels.shape != x.shape[:2]:
        raise ShapeError(f"Episode: `{name}` must have shape {tuple(x.shape[:2])}, got {tuple(labels.shape)}")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or (vocab is not None and high >= vocab):
        expected = "from 0" if vocab is None else f"from 0 to {vocab - 1}"
        raise DataError(f"Episode: `{name}` must hold labels {expected}, got {low} to {high}")
