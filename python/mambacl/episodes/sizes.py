"""The sizes of episodes, and the specification of episodes of classes."""

from __future__ import annotations

from dataclasses import dataclass

from mambacl.stream_order import Order


@dataclass(frozen=True)
class EpisodeSizes:
    """The sizes of an episode; the defaults are those of CL-as-Seq (arXiv:2310.11952).

    Attributes:
        tasks: Number of tasks of the stream, one after another.
        train_shots: Number of labelled examples of a task in the stream.
        test_shots: Number of queries of a task.
    """

    tasks: int = 20
    train_shots: int = 5
    test_shots: int = 5

    @property
    def task_by_task(self) -> bool:
        """Whether all streams go task after task with equal shots, as the accuracy matrix R needs."""
        return True


@dataclass(frozen=True)
class EpisodeSpec(EpisodeSizes):
    """The specification of episodes of classes.

    Attributes:
        tasks: Number of classes; each is one task of the stream.
        train_shots: Number of labelled examples of a class in the stream; the average if the order is
            imbalanced.
        test_shots: Number of queries of a class.
        vocab: Number of symbols of the codebook, at least `tasks`.
        compound: Number of classes of the data that form one class of the episode; 1 for plain classes. Each
            example shows one of them at random, so that the mean of a class carries no information. They are
            drawn again for each episode, and none is in two of its classes.
        order: Order of the stream. "contiguous": class after class. "shuffled": the same examples in random
            order. "recurring": each class appears twice, with half of its examples each time. "imbalanced":
            class after class, with different numbers of examples and the same total. "mixture": these four
            in turn. `mambacl.stream_order` has the exact rules.
    """

    vocab: int = 64
    compound: int = 1
    order: Order = "contiguous"

    @property
    def task_by_task(self) -> bool:
        """Whether all streams go task after task with equal shots, as the accuracy matrix R needs."""
        return self.order == "contiguous"
