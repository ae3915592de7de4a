"""Checks inputs and targets with scikit-learn, without changing the estimator."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data
from torch import Tensor

from mambacl.errors import InvalidValueError, ShapeError
from mambacl.learner import Learner
from mambacl.streams.arrays import as_numpy
from mambacl.streams.fitted import Fitted


class Inputs:
    """The input checks of one call.

    scikit-learn's checks set attributes of the estimator before anything is learnt. Here they set those of
    a stand-in object, whose class has the same name.

    Args:
        name: Name of the estimator's class, for messages.
        tags: scikit-learn's tags of the estimator.
        fitted: Fitted state; None if the call begins a stream.
    """

    def __init__(self, name: str, tags: Any, fitted: Fitted | None) -> None:
        self._name = name
        self._first = fitted is None
        self._checked = _stand_in(name)()
        self._checked.tags = tags
        if fitted is not None:
            self._checked.n_features_in_ = fitted.features
            if fitted.names is not None:
                self._checked.feature_names_in_ = np.array(fitted.names, dtype=object)

    @property
    def features(self) -> int:
        """Number of features of an input."""
        return self._checked.n_features_in_

    @property
    def names(self) -> tuple[str, ...] | None:
        """Names of the features; None if they have none."""
        names = getattr(self._checked, "feature_names_in_", None)
        return None if names is None else tuple(str(name) for name in names)

    def examples(self, learner: Learner, X: Any, y: Any, **checks: Any) -> tuple[Tensor, NDArray[Any]]:
        """Checked inputs, (n, features) float64, and targets.

        Args:
            learner: Learner that will read them; its encoder gives the shape of images.
            X: Inputs, (n, features) or images (n, channels, height, width).
            y: Targets.
            **checks: Options of scikit-learn's `validate_data`.

        Raises:
            ValueError, TypeError: If scikit-learn refuses X or y.
            ShapeError: If images have another shape than the learner takes.
            InvalidValueError: If a number is too large for float64.
        """
        x, targets = self._validated(self._rows(learner, X), y, reset=self._first, **checks)
        return _tensor(x), targets

    def queries(self, learner: Learner, X: Any) -> Tensor:
        """Checked queries, (n, features) float64; raises as `examples`."""
        return _tensor(self._validated(self._rows(learner, X), reset=False))

    def _validated(self, X: Any, *y: Any, **checks: Any) -> Any:
        try:
            return validate_data(self._checked, X, *y, dtype=np.float64, **checks)
        except OverflowError as error:
            raise InvalidValueError(
                f"{self._name}: X and y must be numbers that float64 holds, got one too large: {error}"
            ) from error

    def _rows(self, learner: Learner, X: Any) -> Any:
        """Inputs with one row each; images, (n, channels, height, width), are flattened."""
        array = as_numpy(X)
        if not isinstance(array, np.ndarray) or array.ndim != 4:
            return array
        shape = learner.config.encoder.input_shape
        if array.shape[1:] != shape or 0 in array.shape:
            raise ShapeError(
                f"{self._name}: X must have shape (n, features), or that of the learner's images, "
                f"(n, {', '.join(map(str, shape))}), got {array.shape}"
            )
        return array.reshape(len(array), -1)


class _StandIn(BaseEstimator):
    tags: Any

    def __sklearn_tags__(self) -> Any:
        return self.tags


@functools.cache
def _stand_in(name: str) -> Any:
    """A stand-in class of the given name, which appears in scikit-learn's messages."""
    return type(name, (_StandIn,), {})


def _tensor(x: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.array(x, order="C"))  # torch takes no negative strides
