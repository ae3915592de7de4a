"""The sizes of episodes, and what episodes of classes are drawn by."""

from __future__ import annotations

from dataclasses import dataclass

from mambacl.stream_order import Order


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
