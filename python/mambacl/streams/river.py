"""The classifier in River's habits: an example is a dictionary, learnt and asked for one at a time."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mambacl.errors import InvalidValueError
from mambacl.streams.classifier import ContinualClassifier
from mambacl.streams.estimator_file import Adapt
from mambacl.streams.labels import Label
from mambacl.streams.learner_source import LearnerSource

if TYPE_CHECKING:
    _Base = object
else:
    try:
        from river.base import Classifier as _Base
    except ImportError:  # it then has River's methods, and is no `river.base.Classifier`
        _Base = object

Features = Mapping[Hashable, Any]
"""Numbers by the names of their features."""


class RiverClassifier(_Base):
    """A `ContinualClassifier` for River (`pip install river`, or the extra `river`), and a
    `river.base.Classifier` where River is installed. Without it, the methods here are there all the same.

    The features are those of the first example that is learnt, whatever their order in a dictionary; a
    missing one or another one is an error.

    Args:
        learner: As for `ContinualClassifier`.
        seed: Of the symbols that stand for classes and of the random projection, 0 to 2^32 - 1.
        adapt: Whether features are adapted, as for `ContinualClassifier`.

    Attributes:
        classifier: The classifier that learns and answers.

    Examples:
        >>> from mambacl import Learner, PrototypeConfig, VectorEncoder
        >>> model = RiverClassifier(Learner(PrototypeConfig(VectorEncoder(dim=16))))
        >>> model.predict_one({"length": 1.0, "width": 0.2}) is None
        True
        >>> model.learn_one({"length": 1.0, "width": 0.2}, "short")
        >>> model.learn_one({"width": 0.3, "length": 9.0}, "long")
        >>> model.predict_one({"length": 8.0, "width": 0.3})
        'long'
    """

    def __init__(self, learner: LearnerSource = None, seed: int = 0, adapt: Adapt = "auto") -> None:
        self.classifier = ContinualClassifier(learner, random_state=seed, adapt=adapt)
        self._names: tuple[Hashable, ...] | None = None

    @property
    def learner(self) -> LearnerSource:
        """The parameter."""
        return self.classifier.learner

    @property
    def seed(self) -> int:
        """The parameter."""
        return self.classifier.random_state

    @property
    def adapt(self) -> Adapt:
        """The parameter."""
        return self.classifier.adapt

    def learn_one(self, x: Features, y: Label) -> None:
        """Reads an example.

        Args:
            x: A number for each feature.
            y: Its label, a text or a number.

        Raises:
            ValueError, TypeError, MambaclError: As `ContinualClassifier.partial_fit`, or if the features are
                not those of the first example; nothing is learnt then.
        """
        names = tuple(sorted(x, key=lambda name: (str(name), type(name).__name__)))
        first = self._names is None
        self.classifier.partial_fit(_row(x, names if self._names is None else self._names), np.array([y]))
        if first:
            self._names = names

    def predict_proba_one(self, x: Features) -> dict[Label, float]:
        """The probability of each class.

        Args:
            x: A number for each feature.

        Returns:
            By class; empty before any example.

        Raises:
            ValueError, TypeError: If the features are not those of the first example, or no finite numbers.
        """
        if self._names is None:
            return {}
        probabilities = self.classifier.predict_proba(_row(x, self._names))[0].tolist()
        return dict(zip(self.classifier.classes_.tolist(), probabilities, strict=True))

    def predict_one(self, x: Features) -> Label | None:
        """The most probable class.

        Args:
            x: A number for each feature.

        Returns:
            The class; None before any example.

        Raises:
            ValueError, TypeError: As `predict_proba_one`.
        """
        if self._names is None:
            return None
        return self.classifier.predict(_row(x, self._names)).tolist()[0]

    @property
    def _multiclass(self) -> bool:
        return True

    def _unit_test_skips(self) -> set[str]:
        """River's checks of features that come and go: a learner reads vectors of one length."""
        return {
            "check_emerging_features",
            "check_disappearing_features",
            "check_radically_disappearing_features",
        }


def _row(x: Features, names: tuple[Hashable, ...]) -> list[list[Any]]:
    """The features in their order, as one row."""
    if set(x) != set(names):
        missing = [name for name in names if name not in x]
        extra = [name for name in x if name not in names]
        raise InvalidValueError(
            "RiverClassifier: x must have the features of the first example, got "
            + " and ".join(
                f"{what} {', '.join(map(repr, these))}"
                for what, these in (("without", missing), ("another,", extra))
                if these
            )
        )
    return [[x[name] for name in names]]
