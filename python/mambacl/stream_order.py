"""The order in which a stream shows its classes, as a pure function of (seed, split, index)."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import Literal, get_args

import torch
from torch import Tensor

from mambacl import _core

PlainOrder = Literal["contiguous", "shuffled", "recurring", "imbalanced"]
"""The order of one stream; see `stream_labels`."""

Order = Literal["contiguous", "shuffled", "recurring", "imbalanced", "mixture"]
"""The order of the streams of a source: one order for all, or the four in turn ("mixture")."""

VISITS = 2
"""Number of times that a class appears in a recurring stream."""


def order_of(order: Order, index: int) -> PlainOrder:
    """The order of stream `index`. In a mixture the four orders are used in turn, so that every batch has
    about the same number of each.

    Examples:
        >>> [order_of("mixture", index) for index in range(5)]
        ['contiguous', 'shuffled', 'recurring', 'imbalanced', 'contiguous']
    """
    return get_args(PlainOrder)[index % len(get_args(PlainOrder))] if order == "mixture" else order


def stream_labels(
    order: PlainOrder, tasks: int, shots: int, most: int, seed: int, split: str, index: int
) -> Tensor:
    """The label of each example of a stream, 0, 1, ... in the order in which classes first appear.

    - "contiguous": class after class, `shots` examples of each.
    - "shuffled": the same examples in a uniform order.
    - "recurring": all classes one after another with the first half of their examples (rounded up), then all
      again, in the same order, with the rest.
    - "imbalanced": class after class, with the same total and at least one example of each class. The other
      examples are assigned one by one, each to a class drawn in proportion to its present number of examples
      (Pólya's urn), among the classes with fewer than `most`. Without this limit all distributions of the
      examples over the classes are equally likely.

    Args:
        order: Order of the stream.
        tasks: Number of classes, at least 1.
        shots: Average number of examples of a class, at least 1, or at least 2 for a recurring stream.
        most: Largest number of examples of a class, at least `shots`; used by an imbalanced stream only.
        seed: Seed; with `split` and `index` it determines the random numbers.
        split: Split of the episode.
        index: Index of the episode.

    Returns:
        Labels, (tasks * shots,) int64.

    Examples:
        >>> stream_labels("recurring", 2, 3, 9, 0, "train", 0).tolist()
        [0, 0, 1, 1, 0, 1]
        >>> stream_labels("imbalanced", 3, 3, 9, 0, "train", 5).bincount().tolist()
        [5, 3, 1]
    """
    name, total = f"{split}/order", tasks * shots
    classes = torch.arange(tasks)
    match order:
        case "contiguous":
            return classes.repeat_interleave(shots)
        case "shuffled":
            drawn = _core.uniforms(seed, name, index, total).argsort(stable=True) // shots
            return by_appearance(drawn)
        case "recurring":
            visits = [(shots + VISITS - 1 - visit) // VISITS for visit in range(VISITS)]
            return torch.cat([classes.repeat_interleave(visit) for visit in visits])
        case "imbalanced":
            further = _core.uniforms(seed, name, index, total - tasks)
            return classes.repeat_interleave(torch.tensor(_shared_out(tasks, most, further.tolist())))


def by_appearance(classes: Tensor) -> Tensor:
    """Renumbers classes 0 to n - 1 by their first appearance in `classes`, (T,) int64, which holds all."""
    first = classes.new_full((int(classes.max()) + 1,), len(classes))
    first.scatter_reduce_(0, classes, torch.arange(len(classes)), "amin")
    return first.argsort().argsort()[classes]


def _shared_out(tasks: int, most: int, uniforms: list[float]) -> list[int]:
    """Number of examples of each class: one each, and one more for a class drawn by each uniform number."""
    counts = [1] * tasks
    for number in uniforms:
        upto = list(accumulate(count if count < most else 0 for count in counts))
        counts[bisect_right(upto, number * upto[-1])] += 1
    return counts
