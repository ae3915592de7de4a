"""The fitted state of an estimator, as one value."""

from __future__ import annotations

from dataclasses import dataclass

from mambacl.streams.labels import Labels
from mambacl.streams.stream import Stream


@dataclass(frozen=True, eq=False)
class Fitted:
    """The fitted state of an estimator. It is immutable: learning makes a new one and assigns it in one step,
    so that other threads see either the old or the new one.

    Attributes:
        stream: Stream that was read.
        labels: Labels of a classifier; empty for a regressor.
        features: Number of features of an input.
        names: Names of the features; None if they had none.
    """

    stream: Stream
    labels: Labels
    features: int
    names: tuple[str, ...] | None
