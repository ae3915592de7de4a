"""Learners of one stream, each with the standardisation that suits it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import SGDClassifier
from sklearn.preprocessing import StandardScaler

from mambacl.config import ClassTarget, PrototypeConfig, VectorEncoder
from mambacl.errors import DataError
from mambacl.learner import Learner
from mambacl.streams.adapter import SETTLED
from mambacl.streams.classifier import ContinualClassifier

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

_DIM = 64  # of the pretrained learner, so that class means have the same projection


class Contestant(Protocol):
    """A learner of one stream."""

    def learn(self, x: Array, y: int) -> None:
        """Reads one example, (features,)."""
        ...

    def answer(self, x: Array) -> Labels:
        """Labels of queries, (n, features)."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes kept of the stream."""
        ...


class Estimator:
    """A `ContinualClassifier`."""

    def __init__(self, classifier: ContinualClassifier) -> None:
        self._classifier = classifier

    def learn(self, x: Array, y: int) -> None:
        """Reads one example, (features,)."""
        self._classifier.partial_fit(x[None], np.array([y]))

    def answer(self, x: Array) -> Labels:
        """Labels of queries, (n, features)."""
        return self._classifier.predict(x)

    @property
    def nbytes(self) -> int:
        """Bytes kept of the stream."""
        return self._classifier.state_nbytes_


class Sgd:
    """Logistic regression by a step of gradient descent for each example. It has to know the classes before,
    and features are standardised by the first `SETTLED` examples, as the adapter does."""

    def __init__(self, classes: int, seed: int) -> None:
        self._classes = np.arange(classes)
        self._scaler = StandardScaler()
        self._model = SGDClassifier(loss="log_loss", random_state=seed)
        self._read = 0

    def learn(self, x: Array, y: int) -> None:
        """Reads one example, (features,)."""
        if self._read < SETTLED:
            self._scaler.partial_fit(x[None])
        self._read += 1
        self._model.partial_fit(self._scaler.transform(x[None]), np.array([y]), classes=self._classes)

    def answer(self, x: Array) -> Labels:
        """Labels of queries, (n, features)."""
        return np.asarray(self._model.predict(self._scaler.transform(x)))

    @property
    def nbytes(self) -> int:
        """Bytes kept of the stream."""
        arrays = (self._model.coef_, self._model.intercept_, self._scaler.mean_, self._scaler.var_)
        return sum(np.asarray(array).nbytes for array in arrays)


class HoeffdingTree:
    """River's; it does not mind the scale of features."""

    def __init__(self) -> None:
        try:
            from river.tree import HoeffdingTreeClassifier
        except ImportError as error:
            raise DataError("comparison: River is missing: pip install 'mambacl[river]'") from error
        self._model = HoeffdingTreeClassifier()

    def learn(self, x: Array, y: int) -> None:
        """Reads one example, (features,)."""
        self._model.learn_one(dict(enumerate(x.tolist())), y)

    def answer(self, x: Array) -> Labels:
        """Labels of queries, (n, features)."""
        return np.array([self._model.predict_one(dict(enumerate(row))) for row in x.tolist()])

    @property
    def nbytes(self) -> int:
        """Bytes kept of the stream, as River counts them."""
        return self._model._raw_memory_usage  # pyright: ignore[reportPrivateUsage]


def nearest_class_mean() -> Learner:
    """A learner whose answer is the class with the nearest mean of its inputs: a prototypical network with
    the identity for an encoder."""
    learner = Learner(PrototypeConfig(VectorEncoder(_DIM), ClassTarget(64), d_model=_DIM)).eval()
    with torch.no_grad():
        learner.get_parameter("encoder.layers.0.linear.weight").copy_(torch.eye(_DIM))
    return learner


def contestants(pretrained: Learner | None) -> dict[str, Callable[[int, int], Contestant]]:
    """Each from a number of classes and a seed.

    Args:
        pretrained: In place of the packaged learner.
    """
    means = nearest_class_mean()
    return {
        "ContinualClassifier()": lambda _, seed: Estimator(
            ContinualClassifier(pretrained, random_state=seed, adapt=True)
        ),
        "nearest class mean": lambda _, seed: Estimator(
            ContinualClassifier(means, random_state=seed, adapt=True)
        ),
        "SGDClassifier.partial_fit": Sgd,
        "Hoeffding tree": lambda _classes, _seed: HoeffdingTree(),
    }
