"""Episodes: lives of a continual learner, drawn from classes as a pure function of (seed, split, index)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, get_args

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mambacl import _core
from mambacl.data.classes import Classes
from mambacl.data.splits import Split
from mambacl.devices import sent
from mambacl.errors import DataError, DeviceError, DtypeError, InvalidValueError, ShapeError
from mambacl.stream_order import VISITS, Order, order_of, stream_labels


@dataclass(frozen=True)
class EpisodeSizes:
    """The sizes of an episode; the defaults are those of CL-as-Seq (arXiv:2310.11952).

    Attributes:
        tasks: Tasks of the stream, one after another.
        train_shots: Labelled examples read of each.
        test_shots: Queries asked of each.
    """

    tasks: int = 20
    train_shots: int = 5
    test_shots: int = 5

    @property
    def task_by_task(self) -> bool:
        """Whether all streams go task after task, each with as many examples: what R is asked of."""
        return True


@dataclass(frozen=True)
class EpisodeSpec(EpisodeSizes):
    """What an episode of classes is drawn by.

    Attributes:
        tasks: Classes of the episode; each is one task of the stream.
        train_shots: Labelled examples read of each class; on average, where the order is imbalanced.
        test_shots: Queries asked of each class.
        vocab: Symbols the codebook chooses from, at least `tasks`.
        compound: Classes of the data that make one class of the episode: each example shows one of them, by
            chance, so that the mean of a class means nothing. They are drawn anew for each episode, and none
            is in two classes of it. 1 for plain classes.
        order: Of the stream. "contiguous": class after class. "shuffled": the same examples in any order.
            "recurring": each class comes twice, with half of its examples. "imbalanced": class after class,
            some with one example, others with more, as many in all. "mixture": one of these four, by turns.
            Exactly: `mambacl.stream_order`.
    """

    vocab: int = 64
    compound: int = 1
    order: Order = "contiguous"

    @property
    def task_by_task(self) -> bool:
        """Whether all streams go task after task, each with as many examples: what R is asked of."""
        return self.order == "contiguous"


@dataclass(frozen=True, eq=False)
class Episode:
    """A batch of episodes: a labelled stream to read in order, then queries to answer one by one.

    T is the length of the stream, Q the number of queries.

    Attributes:
        train_x: Inputs of the stream, (batch, T, ...) floating point.
        train_y: Targets of the stream: labels 0, 1, ... in the order in which classes appear,
            (batch, T) int64; or vectors, (batch, T, dim_y) floating point.
        test_x: Inputs of the queries, (batch, Q, ...), otherwise as `train_x`.
        test_y: Targets of the queries, (batch, Q) or (batch, Q, dim_y), as `train_y`.
        codebook: The learner sees label `l` of episode `b` as symbol `codebook[b, l]`; each row is a
            permutation of the vocabulary, (batch, vocab) int64. With vector targets (batch, 0).
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
            device: Where they shall be.
            non_blocking: Not to wait for the copy; from the CPU to a GPU it goes by way of pinned memory.
        """
        moved = {
            name: sent(tensor, device) if non_blocking else tensor.to(device)
            for name, tensor in self._tensors()
        }
        return dataclasses.replace(self, **moved)

    def validate(self) -> Episode:
        """Checks that the episodes make sense, and returns them.

        Raises:
            ShapeError: If the stream or the queries are empty, or shapes do not fit together.
            DtypeError: If inputs are not floating point, or labels, tasks or the codebook not int64.
            DeviceError: If the tensors lie on different devices.
            DataError: If an input or vector target is NaN or infinite, a label lies outside the
                vocabulary, or a row of the codebook is no permutation.

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
    """`labels` must be one per example of `x`, from 0 to below `vocab` (None: no upper limit)."""
    if labels.dtype != torch.int64:
        raise DtypeError(f"Episode: `{name}` must be int64, got {labels.dtype}")
    if labels.shape != x.shape[:2]:
        raise ShapeError(f"Episode: `{name}` must have shape {tuple(x.shape[:2])}, got {tuple(labels.shape)}")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or (vocab is not None and high >= vocab):
        expected = "from 0" if vocab is None else f"from 0 to {vocab - 1}"
        raise DataError(f"Episode: `{name}` must hold labels {expected}, got {low} to {high}")


class Episodes(Protocol):
    """Anything that draws batches of episodes by index, the same whenever it is asked."""

    def batch(self, first_index: int, batch_size: int) -> Episode:
        """Episodes `first_index` to `first_index + batch_size - 1`."""
        ...


class SizedEpisodes(Episodes, Protocol):
    """Episodes that all have the same sizes."""

    @property
    def spec(self) -> EpisodeSizes:
        """The sizes."""
        ...


def check_indices(source: str, seed: int, first_index: int, batch_size: int) -> None:
    """Checks which episodes a batch is of; `source` is who draws them, for the message.

    Raises:
        InvalidValueError: If the batch is empty, or the seed or an index not from 0 to 2^64 - 1.
    """
    if batch_size < 1:
        raise InvalidValueError(f"{source}: `batch_size` must be at least 1, got {batch_size}")
    numbers = {
        "seed": seed,
        "first_index": first_index,
        "first_index + batch_size - 1": first_index + batch_size - 1,
    }
    for name, value in numbers.items():
        if not 0 <= value < 2**64:
            raise InvalidValueError(f"{source}: `{name}` must be from 0 to 2^64 - 1, got {value}")


@dataclass(frozen=True, eq=False)
class EpisodeSource:
    """Draws episodes from classes; the same everywhere for the same (seed, split, index).

    With more tasks, train shots or test shots an episode holds the smaller one's classes and examples,
    so studies over these sizes compare like with like (without jitter or views: their numbers shift). In
    every order it holds the same classes and queries, under the same symbols, and the same examples; an
    imbalanced stream has fewer of some classes and more of others.

    Attributes:
        classes: Classes to draw from: images, features, or your own.
        spec: Sizes of an episode.
        seed: 0 to 2^64 - 1.
        split: Separates the episodes of one seed; usually the split of `classes`.

    Examples:
        >>> from mambacl.data import AffineJitter, hanzi21
        >>> classes = hanzi21.load("validation", jitter=AffineJitter())
        >>> source = EpisodeSource(classes, EpisodeSpec(tasks=5), 0, "validation")
        >>> episode = source.batch(0, 16)
        >>> episode.train_x.shape, episode.train_y[0].tolist()[:6]
        (torch.Size([16, 25, 1, 32, 32]), [0, 0, 0, 0, 0, 1])
        >>> torch.equal(episode.train_x[3:4], source.episode(3).train_x)
        True
    """

    classes: Classes
    spec: EpisodeSpec
    seed: int
    split: Split

    def episode(self, index: int) -> Episode:
        """Episode `index` (0 to 2^64 - 1), as a batch of one; raises as `batch`."""
        return self.batch(index, 1)

    def batch(self, first_index: int, batch_size: int) -> Episode:
        """Episodes `first_index` to `first_index + batch_size - 1`.

        Returns:
            Inputs are those of `classes`, float32: (batch, T, channels, height, width) images from -1
            (background) to 1 (ink), or (batch, T, dim) features.

        Raises:
            InvalidValueError: If the batch is empty, the seed or an index out of range, the classes cannot
                fill an episode of these sizes (`tasks * compound` of them, each with an example for every
                shot), or there is no such order or too few shots for it.
        """
        check_indices("EpisodeSource", self.seed, first_index, batch_size)
        indices = range(first_index, first_index + batch_size)
        plans = [self._plan(index) for index in indices]
        train, train_y, test, codebook = (torch.stack(parts) for parts in zip(*plans, strict=True))

        test_y = torch.arange(self.spec.tasks).repeat_interleave(self.spec.test_shots)
        test_y = test_y.repeat(batch_size, 1)  # (batch, Q)
        classes, examples = torch.cat([train, test], dim=2).unbind(1)
        inputs = self._inputs(classes, examples, indices)  # (batch, T + Q, ...)
        train_x, test_x = inputs.split([train_y.shape[1], test_y.shape[1]], dim=1)
        return Episode(train_x, train_y, test_x, test_y, codebook)

    @cached_property
    def _examples_per_class(self) -> list[int]:
        """As the engine takes it; thousands of classes are not listed anew for each episode."""
        return self.classes.examples_per_class.tolist()

    def _plan(self, index: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Class and example of each input of the stream, (2, T), and their labels, (T); class and example of
        each query, (2, Q); the codebook."""
        spec = self.spec
        self._check_compound()
        self._check_order()
        order = order_of(spec.order, index)
        shots = spec.train_shots  # to choose from, of each class
        if order == "imbalanced":
            shots = max(shots, min(self._examples_per_class, default=0) - spec.test_shots)
        classes, train, test, codebook = _core.plan_episode(
            self.seed,
            self.split,
            index,
            self._examples_per_class,
            tasks=spec.tasks * spec.compound,
            train_shots=shots,
            test_shots=spec.test_shots,
            vocab=spec.vocab + spec.tasks * (spec.compound - 1),  # the engine wants a symbol for each class
        )
        classes = classes.view(spec.tasks, spec.compound)
        train, test = (
            self._shown(index, part, classes, examples.view(spec.tasks, spec.compound, shots))
            for part, examples, shots in (("train", train, shots), ("test", test, spec.test_shots))
        )
        labels = stream_labels(order, spec.tasks, spec.train_shots, shots, self.seed, self.split, index)
        if order != "contiguous":  # the examples of a class come in their own order, whatever is between
            member = labels.unsqueeze(1) == torch.arange(spec.tasks)  # (T, tasks)
            earlier = member.cumsum(0).gather(1, labels.unsqueeze(1)).squeeze(1) - 1
            train = train[:, labels * shots + earlier]
        return train, labels, test, codebook[codebook < spec.vocab]

    def _check_compound(self) -> None:
        """What the engine would tell in its own numbers, of all members: here in those of the spec."""
        spec, classes = self.spec, len(self._examples_per_class)
        if spec.compound < 1:
            raise InvalidValueError(f"EpisodeSource: `spec.compound` must be at least 1, got {spec.compound}")
        if spec.compound == 1:
            return
        if spec.vocab < spec.tasks:
            raise InvalidValueError(
                f"EpisodeSource: `spec.vocab` must be at least `spec.tasks`, {spec.tasks}, got {spec.vocab}"
            )
        if spec.tasks * spec.compound > classes:
            raise InvalidValueError(
                "EpisodeSource: `spec.tasks * spec.compound` must be at most the number of classes, "
                f"{classes}, got {spec.tasks} * {spec.compound} = {spec.tasks * spec.compound}"
            )

    def _check_order(self) -> None:
        order, shots = self.spec.order, self.spec.train_shots
        if order not in get_args(Order):
            known = ", ".join(map(repr, get_args(Order)))
            raise InvalidValueError(f"EpisodeSource: `spec.order` must be one of {known}, got {order!r}")
        least = VISITS if order in ("recurring", "mixture") else 1
        if order != "contiguous" and shots < least:
            raise InvalidValueError(
                f"EpisodeSource: `spec.train_shots` must be at least {least} where `spec.order` is "
                f"{order!r}, got {shots}"
            )

    def _shown(self, index: int, part: str, classes: Tensor, examples: Tensor) -> Tensor:
        """Class and example of each shot, (2, tasks * shots): of `classes` (tasks, compound) and `examples`
        (tasks, compound, shots), which are drawn for all, those of the one member that it shows."""
        tasks, compound, shots = examples.shape
        if compound == 1:
            member = torch.zeros(tasks, shots, dtype=torch.int64)
        else:  # each task has numbers of its own, so that more tasks or shots change none of the others
            streams = (f"{self.split}/compound/{part}/{task}" for task in range(tasks))
            uniforms = torch.stack([_core.uniforms(self.seed, stream, index, shots) for stream in streams])
            member = (uniforms.double() * compound).long()
        example = examples.gather(1, member.unsqueeze(1)).squeeze(1)
        return torch.stack([classes.gather(1, member).flatten(), example.flatten()])

    def _inputs(self, classes: Tensor, examples: Tensor, indices: range) -> Tensor:
        """Inputs of (class, example) pairs, both (batch, n), with the random numbers of each episode."""
        each = self.classes.uniforms_per_example
        count = examples.shape[1] * each
        uniforms = torch.stack([_core.uniforms(self.seed, self.split, index, count) for index in indices])
        inputs = self.classes.inputs(
            classes.flatten(), examples.flatten(), uniforms.view(examples.numel(), each)
        )
        return inputs.view(*examples.shape, *inputs.shape[1:])


class EpisodeDataset(Dataset[Episode]):
    """Consecutive batches of a source, for a `DataLoader`: item `i` is batch `first_batch + i`.

    The loader must not collate (`batch_size=None`). Any number of workers gives the same batches;
    start them by "spawn", since forked processes can hang in torch's threads.

    Args:
        source: Draws the episodes.
        batch_size: Episodes per batch.
        batches: Number of items.
        first_batch: Where to begin; a run that resumes after `n` steps begins at `n`.

    Examples:
        >>> from mambacl.data import hanzi21
        >>> from torch.utils.data import DataLoader
        >>> source = EpisodeSource(hanzi21.load("train"), EpisodeSpec(), seed=0, split="train")
        >>> loader = DataLoader(EpisodeDataset(source, batch_size=16, batches=3), batch_size=None)
        >>> [episode.batch_size for episode in loader]
        [16, 16, 16]
    """

    def __init__(self, source: EpisodeSource, batch_size: int, batches: int, first_batch: int = 0) -> None:
        self.source = source
        self.batch_size = batch_size
        self.batches = batches
        self.first_batch = first_batch

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, item: int) -> Episode:
        if not 0 <= item < self.batches:
            raise IndexError(f"EpisodeDataset: `item` must be from 0 to {self.batches - 1}, got {item}")
        return self.source.batch((self.first_batch + item) * self.batch_size, self.batch_size)
