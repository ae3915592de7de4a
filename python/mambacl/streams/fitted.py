"""What an estimator has learnt, as one value."""

from __future__ import annotations

from dataclasses import dataclass

from mambacl.streams.labels import Labels
from mambacl.streams.stream import Stream


@dataclass(frozen=True, eq=False)
class Fitted:
    """What an estimator has learnt. It never changes: learning makes another, which the estimator takes on at
    once, so that threads that ask meanwhile see the one or the other.

    Attributes:
        stream: What it has read.
        labels: Of a classifier.
        features: Numbers in an input.
        names: Of the features, if they had any.
    """

    stream: Stream
    labels: Labels
    features: int
    names: tuple[str, ...] | None
