"""The estimators with River's interface: one example at a time, as a dictionary of features."""

from __future__ import annotations

# pyright: reportPrivateUsage=false
# A model reads the fitted state of its estimator once per call, and passes it to the estimator's methods.
import math
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from mambacl.errors import InvalidValueError
from mambacl.streams.classifier import ContinualClassifier
from mambacl.streams.estimator import StreamEstimator
from mambacl.streams.estimator_file import Adapt
from mambacl.streams.fitted import Fitted
from mambacl.streams.labels import Label, label_array
from mambacl.streams.learner_source import LearnerSource
from mambacl.streams.regressor import ContinualRegressor
from mambacl.streams.stream import input_numbers, target_numbers

if TYPE_CHECKING:
    _Classifier = _Regressor = object
else:
    try:
        from river.base import Classifier as _Classifier
        from river.base import Regressor as _Regressor
    except ImportError:  # without River the models have the same methods, and no base class
        _Classifier = _Regressor = object

Features = Mapping[Hashable, Any]
"""Numbers by feature name."""

Missing = Literal["zero", "mean"]
"""The value used for a feature that an example lacks."""


class _OneAtATime:
    """Base class of both models: maps feature names to columns of an estimator's rows.

    Names are only added at the end, before the estimator learns a row with them. So the columns of all rows
    that it has learnt are the first of these names.
    """

    def __init__(self, estimator: StreamEstimator, missing: Missing) -> None:
        if missing not in ("zero", "mean"):
            raise InvalidValueError(
                f"{type(self).__name__}: argument `missing` must be 'zero' or 'mean', got {missing!r}"
            )
        self._estimator = estimator
        self._missing: Missing = missing
        self._names: tuple[Hashable, ...] = ()
        self._means: Mapping[Hashable, tuple[int, float]] = {}  # by feature: (count, mean) of its values

    @property
    def learner(self) -> LearnerSource:
        """The parameter `learner`."""
        return self._estimator.learner

    @property
    def seed(self) -> int:
        """The parameter `seed`."""
        return self._estimator.random_state

    @property
    def adapt(self) -> Adapt:
        """The parameter `adapt`."""
        return self._estimator.adapt

    @property
    def missing(self) -> Missing:
        """The parameter `missing`."""
        return self._missing

    def _learn(self, x: Features, y: Any) -> None:
        """Reads an example; features that no earlier example had get the next columns."""
        given, before, old = self._numbers(x), self._estimator._fitted, self._names
        kept = () if before is None else old[: before.features]
        means = {} if before is None else self._means
        new = sorted(set(given).difference(kept), key=lambda name: (str(name), type(name).__name__))
        names = (*kept, *new)
        if before is None:
            after, width = None, max(len(names), 1)
            if self._estimator._checked_adapt() is False:
                width = max(width, input_numbers(self._estimator._find_learner()))
        else:
            width = max(before.features, len(names))
            past = [self._fill(given[name]) for name in names[before.features :]]
            after = self._widened(before, torch.tensor(past, dtype=torch.float64))
        row = self._row(given, names, width, means)
        self._names = names
        try:
            self._estimator._learn(after, row, y)
        except BaseException:
            self._names = old
            raise
        if self._missing == "mean":
            self._means = {**means, **{name: _moved(means.get(name), given[name]) for name in given}}

    def _widened(self, before: Fitted, past: torch.Tensor) -> Fitted:
        """The fitted state with columns for new features, whose values in earlier examples are `past`.

        Raises:
            InvalidValueError: If features are not adapted, so that no column can be added.
        """
        if len(past) == 0:
            return before
        if (stream := before.stream.widened(past)) is None:
            raise InvalidValueError(
                f"{type(self).__name__}: x has {before.features + len(past)} features so far, but the "
                f"learner takes at most {before.features}. Use adapt=True, which has no such limit, or a "
                "learner that takes more features, or hash features first, as "
                f"river.preprocessing.FeatureHasher(n_features={before.features}) does"
            )
        return Fitted(stream, before.labels, before.features + len(past), before.names)

    def _fill(self, first: float) -> float:
        """The value of a new feature in earlier examples; `first` is its first value."""
        return 0.0 if self._missing == "zero" else first

    def _query(self, fitted: Fitted, x: Features) -> NDArray[np.float64]:
        """The known features as one row, (1, features) float64; unknown ones are ignored."""
        return self._row(self._numbers(x), self._names[: fitted.features], fitted.features, self._means)

    def _row(
        self,
        given: Mapping[Hashable, float],
        names: tuple[Hashable, ...],
        width: int,
        means: Mapping[Hashable, tuple[int, float]],
    ) -> NDArray[np.float64]:
        """One row, (1, width) float64: each number in its column, means for features that are missing."""
        row = np.zeros((1, width))
        for place, name in enumerate(names):
            row[0, place] = given[name] if name in given else means.get(name, (0, 0.0))[1]
        return row

    def _numbers(self, x: Features) -> dict[Hashable, float]:
        given: Any = x
        if not isinstance(given, Mapping):
            raise TypeError(
                f"{type(self).__name__}: argument `x` must be a dictionary of numbers by feature name, "
                f"got {type(x).__name__}"
            )
        numbers: dict[Hashable, float] = {}
        for name, value in x.items():
            try:
                number = float(value)
            except (TypeError, ValueError, OverflowError) as error:
                raise InvalidValueError(
                    f"{type(self).__name__}: could not convert the feature {name!r} to a number: {error}"
                ) from error
            if not math.isfinite(number):
                raise InvalidValueError(
                    f"{type(self).__name__}: the feature {name!r} must be finite, got {number}; leave "
                    "missing features out of `x`"
                )
            numbers[name] = number
        return numbers


class RiverClassifier(_OneAtATime, _Classifier):
    """A `ContinualClassifier` with River's interface.

    It derives from `river.base.Classifier` if River is installed (`pip install river`, or the extra `river`).
    Without River it has the same methods.

    Examples may have different features, in any order. A missing feature counts as 0, as in River's own
    models, or as its mean so far. In a query, features that no example had are ignored. A new feature gets
    the next column, as if its value in all earlier examples had been 0, or with "mean" its first value.
    Adapted features have no limit in number. Without the adapter (`adapt=False`, or a first example with as
    many features as the learner takes) the limit is the learner's number of inputs. The adapter does not
    scale a feature that first appears after the 30th example.

    Args:
        learner: Learner, as for `ContinualClassifier`.
        seed: Seed of the symbols that stand for classes and of the random projection, 0 to 2^32 - 1.
        adapt: Whether features are adapted, as for `ContinualClassifier`.
        missing: Value of a missing feature: "zero", or "mean", the mean over the examples that had it.

    Attributes:
        classifier: The `ContinualClassifier` that learns and answers.

    Raises:
        InvalidValueError: If `missing` is neither "zero" nor "mean".

    Examples:
        >>> from mambacl import Learner, PrototypeConfig, VectorEncoder
        >>> model = RiverClassifier(Learner(PrototypeConfig(VectorEncoder(dim=16))))
        >>> model.predict_one({"length": 1.0, "width": 0.2}) is None
        True
        >>> model.learn_one({"length": 1.0, "width": 0.2}, "short")
        >>> model.learn_one({"width": 0.3, "length": 9.0, "striped": 1}, "long")
        >>> model.predict_one({"width": 0.3, "length": 8.0})
        'long'
    """

    def __init__(
        self,
        learner: LearnerSource = None,
        seed: int = 0,
        adapt: Adapt = "auto",
        missing: Missing = "zero",
    ) -> None:
        self.classifier = ContinualClassifier(learner, random_state=seed, adapt=adapt)
        super().__init__(self.classifier, missing)

    def learn_one(self, x: Features, y: Label) -> None:
        """Reads an example.

        Args:
            x: A number for each feature that the example has.
            y: Label, a string or a number, as for `ContinualClassifier`.

        Raises:
            ValueError, TypeError, MambaclError: As `ContinualClassifier.partial_fit`, or if a feature is not
                a finite number or exceeds the learner's inputs; then nothing is learnt.
        """
        self._learn(x, label_array([y]))

    def predict_proba_one(self, x: Features) -> dict[Label, float]:
        """The probability of each class.

        Args:
            x: A number for each feature that the example has.

        Returns:
            Probabilities by class; empty before any example.

        Raises:
            ValueError, TypeError: If a feature is not a finite number, or too large for the learner.
        """
        if (fitted := self.classifier._fitted) is None:
            return {}
        log_proba = self.classifier._log_proba(fitted, self._query(fitted, x))
        return dict(zip(fitted.labels.classes.tolist(), log_proba[0].exp().tolist(), strict=True))

    def predict_one(self, x: Features) -> Label | None:
        """The most probable class.

        Args:
            x: A number for each feature that the example has.

        Returns:
            The class; None before any example.

        Raises:
            ValueError, TypeError: As `predict_proba_one`.
        """
        if (fitted := self.classifier._fitted) is None:
            return None
        log_proba = self.classifier._log_proba(fitted, self._query(fitted, x))
        return fitted.labels.classes[log_proba.argmax(1).numpy()].tolist()[0]

    @property
    def _multiclass(self) -> bool:
        return True


class RiverRegressor(_OneAtATime, _Regressor):
    """A `ContinualRegressor` with River's interface; it derives from `river.base.Regressor` if River is
    installed. Features are treated as by `RiverClassifier`.

    Args:
        learner: Learner, as for `ContinualRegressor`; it must answer with one number.
        seed: Seed of the random projection and of the learner's random numbers, 0 to 2^32 - 1.
        adapt: Whether features are adapted, as for `ContinualClassifier`.
        missing: Value of a missing feature, as for `RiverClassifier`.

    Attributes:
        regressor: The `ContinualRegressor` that learns and answers.

    Raises:
        InvalidValueError: If `missing` is neither "zero" nor "mean".

    Examples:
        >>> from mambacl import Learner, SequenceConfig, VectorEncoder, VectorTarget
        >>> learner = Learner(SequenceConfig(VectorEncoder(dim=4), VectorTarget(dim=1), d_model=16))
        >>> model = RiverRegressor(learner)
        >>> model.predict_one({"length": 1.0})
        0.0
        >>> model.learn_one({"length": 1.0}, 0.5)
        >>> isinstance(model.predict_one({"length": 1.0, "width": 2.0}), float)
        True
    """

    def __init__(
        self,
        learner: LearnerSource = None,
        seed: int = 0,
        adapt: Adapt = "auto",
        missing: Missing = "zero",
    ) -> None:
        self.regressor = ContinualRegressor(learner, random_state=seed, adapt=adapt)
        super().__init__(self.regressor, missing)

    def learn_one(self, x: Features, y: float) -> None:
        """Reads an example.

        Args:
            x: A number for each feature that the example has.
            y: Target, a number.

        Raises:
            ValueError, TypeError, MambaclError: As `ContinualRegressor.partial_fit`, or if a feature is not
                a finite number or exceeds the learner's inputs, or the learner answers with more than one
                number; then nothing is learnt.
        """
        if (dim := target_numbers(self.regressor._find_learner())) != 1:
            raise InvalidValueError(
                f"RiverRegressor: argument `learner` must answer with one number, got one of {dim}"
            )
        self._learn(x, [y])

    def predict_one(self, x: Features) -> float:
        """The learner's answer.

        Args:
            x: A number for each feature that the example has.

        Returns:
            A number; 0 before any example.

        Raises:
            ValueError, TypeError: If a feature is not a finite number, or too large for the learner.
        """
        if (fitted := self.regressor._fitted) is None:
            return 0.0
        queries = self.regressor._queries(fitted, self._query(fitted, x))
        return float(fitted.stream.answer(queries)[0, 0])


def _moved(before: tuple[int, float] | None, value: float) -> tuple[int, float]:
    """The count and mean of values after one more value."""
    count, mean = (0, 0.0) if before is None else before
    return count + 1, mean + (value - mean) / (count + 1)
