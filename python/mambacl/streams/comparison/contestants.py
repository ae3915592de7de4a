"""The learners that are compared, each with a standardisation that suits it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import euclidean_distances
from sklearn.preprocessing import StandardScaler

from mambacl.errors import DataError
from mambacl.streams.adapter import SETTLED
from mambacl.streams.classifier import ContinualClassifier
from mambacl.streams.learner_source import LearnerSource

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


class Contestant(Protocol):
    """A learner that reads one stream."""

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


class ClassMeans:
    """The nearest class mean, with features standardised by all examples so far.

    Means are stored before standardisation, so that early and late examples are standardised alike and the
    order has no effect.
    """

    def __init__(self, classes: int) -> None:
        self._counts = np.zeros(classes)
        self._means: Array = np.zeros((classes, 0))
        self._scaler = StandardScaler()

    def learn(self, x: Array, y: int) -> None:
        """Reads one example, (features,)."""
        if not self._means.size:
            self._means = np.zeros((len(self._counts), len(x)))
        self._scaler.partial_fit(x[None])
        self._counts[y] += 1
        self._means[y] += (x - self._means[y]) / self._counts[y]

    def answer(self, x: Array) -> Labels:
        """Labels of queries, (n, features)."""
        seen = np.flatnonzero(self._counts)
        means, queries = self._scaler.transform(self._means[seen]), self._scaler.transform(x)
        return seen[euclidean_distances(queries, means).argmin(1)]

    @property
    def nbytes(self) -> int:
        """Bytes kept of the stream."""
        moments = (self._scaler.mean_, self._scaler.var_)
        return self._means.nbytes + self._counts.nbytes + sum(np.asarray(each).nbytes for each in moments)


class Sgd:
    """Logistic regression with one step of gradient descent for each example.

    It needs the classes in advance. Features are standardised by the first `SETTLED` examples, as by the
    adapter.
    """

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
    """River's Hoeffding tree, which does not depend on the scale of features."""

    def __init__(self) -> None:
        try:
            from river.tree import HoeffdingTreeClassifier
        except ImportError as error:
            raise DataError("comparison: River is missing: pip install '.[river]' in the checkout") from error
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


def contestants(learners: Mapping[str, LearnerSource]) -> dict[str, Callable[[int, int], Contestant]]:
    """Functions that make the learners from a number of classes and a seed, by name of the table's row.

    Args:
        learners: Learners for `ContinualClassifier`, by name of the row.
    """

    def reading(learner: LearnerSource) -> Callable[[int, int], Contestant]:
        return lambda _, seed: Estimator(ContinualClassifier(learner, random_state=seed, adapt=True))

    return {
        **{name: reading(learner) for name, learner in learners.items()},
        "nearest class mean": lambda classes, _: ClassMeans(classes),
        "SGDClassifier.partial_fit": Sgd,
        "Hoeffding tree": lambda _classes, _seed: HoeffdingTree(),
    }
