"""Episodes of classes, a pure function of (seed, split, index)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import get_args

import torch
from torch import Tensor

from mambacl import _core
from mambacl.data.classes import Classes
from mambacl.data.splits import Split
from mambacl.episodes.episode import Episode
from mambacl.episodes.protocols import check_indices
from mambacl.episodes.sizes import EpisodeSpec
from mambacl.errors import InvalidValueError
from mambacl.stream_order import VISITS, Order, order_of, stream_labels


@dataclass(frozen=True, eq=False)
class EpisodeSource:
    """Draws episodes from classes, a pure function of (seed, split, index).

    A larger episode contains the classes and examples of a smaller one, so that studies over these sizes are
    paired. With jitter or views it does not, as their random numbers shift. The order of the stream does not
    change the classes, queries, symbols or examples of an episode, except that an imbalanced stream has fewer
    examples of some classes and more of others.

    Attributes:
        classes: Classes of images, of features, or your own.
        spec: Specification of the episodes.
        seed: Seed, 0 to 2^64 - 1.
        split: Split; episodes of different splits are independent. Usually the split of `classes`.

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
            The episodes. Their inputs come from `classes`, float32: images from -1 (background) to 1 (ink),
            (batch, T, channels, height, width), or features, (batch, T, dim).

        Raises:
            InvalidValueError: If the batch is empty, the seed or an index is out of range, the classes cannot
                fill an episode (`tasks * compound` classes, each with an example for every shot), the order
                is unknown, or it needs more shots.
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
        """Numbers of examples as a list for the engine; cached, as there may be thousands of classes."""
        return self.classes.examples_per_class.tolist()

    def _plan(self, index: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The plan of an episode: class and example of each input of the stream, (2, T), their labels, (T),
        class and example of each query, (2, Q), and the codebook."""
        spec = self.spec
        self._check_compound()
        self._check_order()
        order = order_of(spec.order, index)
        shots = spec.train_shots  # examples of each class to choose from
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
            vocab=spec.vocab + spec.tasks * (spec.compound - 1),  # the engine needs a symbol for each class
        )
        classes = classes.view(spec.tasks, spec.compound)
        train, test = (
            self._shown(index, part, classes, examples.view(spec.tasks, spec.compound, shots))
            for part, examples, shots in (("train", train, shots), ("test", test, spec.test_shots))
        )
        labels = stream_labels(order, spec.tasks, spec.train_shots, shots, self.seed, self.split, index)
        if order != "contiguous":  # within a class the order of examples stays the same
            member = labels.unsqueeze(1) == torch.arange(spec.tasks)  # (T, tasks)
            earlier = member.cumsum(0).gather(1, labels.unsqueeze(1)).squeeze(1) - 1
            train = train[:, labels * shots + earlier]
        return train, labels, test, codebook[codebook < spec.vocab]

    def _check_compound(self) -> None:
        """Checks `compound` and the sizes with it, as the engine's message would name other numbers than the
        specification.

        Raises:
            InvalidValueError: If they do not fit the classes.
        """
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
        """Class and example of each shot, (2, tasks * shots). Each shot shows one member of its class, out of
        `classes`, (tasks, compound), and `examples`, (tasks, compound, shots)."""
        tasks, compound, shots = examples.shape
        if compound == 1:
            member = torch.zeros(tasks, shots, dtype=torch.int64)
        else:  # each task has its own numbers, so that more tasks or shots do not change the others
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
