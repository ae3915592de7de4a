"""Inputs and targets as scikit-learn checks them, without a change to the estimator that asks."""

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
    """The checks of one call.

    scikit-learn's write what they find to the estimator, attribute by attribute, before anything is learnt;
    here they write to an object of the same name that stands in for it.

    Args:
        name: Of the estimator's class, for messages.
        tags: Of the estimator.
        fitted: What it has learnt; None if the call begins a stream.
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
        """Numbers in an input."""
        return self._checked.n_features_in_

    @property
    def names(self) -> tuple[str, ...] | None:
        """Names of the features, if there are any."""
        names = getattr(self._checked, "feature_names_in_", None)
        return None if names is None else tuple(str(name) for name in names)

    def examples(self, learner: Learner, X: Any, y: Any, **checks: Any) -> tuple[Tensor, NDArray[Any]]:
        """Inputs, (n, features) float64, and targets."""
        x, targets = self._validated(self._rows(learner, X), y, reset=self._first, **checks)
        return _tensor(x), targets

    def queries(self, learner: Learner, X: Any) -> Tensor:
        """Inputs, (n, features) float64."""
        return _tensor(self._validated(self._rows(learner, X), reset=False))

    def _validated(self, X: Any, *y: Any, **checks: Any) -> Any:
        try:
            return validate_data(self._checked, X, *y, dtype=np.float64, **checks)
        except OverflowError as error:
            raise InvalidValueError(
                f"{self._name}: X and y must be numbers that float64 holds, got one too large: {error}"
            ) from error

    def _rows(self, learner: Learner, X: Any) -> Any:
        """Inputs with a row for each; images, (n, channels, height, width), are laid out in one."""
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
    """A class of a name, as scikit-learn's messages have it."""
    return type(name, (_StandIn,), {})


def _tensor(x: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.array(x, order="C"))  # torch takes no negative strides
