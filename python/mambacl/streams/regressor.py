"""A regressor that learns from a stream by reading it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.utils.validation import column_or_1d
from torch import Tensor

from mambacl.errors import InvalidValueError, ShapeError
from mambacl.learner import Learner
from mambacl.streams.arrays import as_numpy
from mambacl.streams.estimator import StreamEstimator
from mambacl.streams.fitted import Fitted
from mambacl.streams.labels import Labels
from mambacl.streams.stream import target_numbers


class ContinualRegressor(RegressorMixin, StreamEstimator):
    """A regressor that learns from examples by reading each one once, as `ContinualClassifier` does.

    It needs a learner of vectors, meta-trained on targets of the same scale as y: y is not scaled.

    Args:
        learner: A `Learner` with a `VectorTarget` or `AngleTarget`, the folder of a run, or a file of
            `mambacl.save_learner`. The package has no regression learner.
        random_state: Seed of the random projection and of the learner's random numbers, as for
            `ContinualClassifier`.
        adapt: Whether features are adapted, as for `ContinualClassifier`.

    Attributes:
        n_features_in_: Number of features of an input.
        n_samples_seen_: Number of examples read.
        state_: The learner's state.
        state_nbytes_: Bytes kept for the stream.

    Examples:
        >>> from mambacl import ContinualRegressor, Learner, SequenceConfig, VectorEncoder, VectorTarget
        >>> learner = Learner(SequenceConfig(VectorEncoder(dim=2), VectorTarget(dim=1), d_model=16))
        >>> regressor = ContinualRegressor(learner).partial_fit([[0.0, 1.0], [1.0, 2.0]], [0.5, 1.5])
        >>> regressor.predict([[0.5, 1.5]]).shape  # this learner has not been meta-trained
        (1,)
    """

    _classifies = False

    def fit(self, X: ArrayLike | Tensor, y: ArrayLike | Tensor) -> ContinualRegressor:
        """Forgets the stream and reads a new one. If that fails, the old one stays.

        Args:
            X: Inputs, (n, features).
            y: Targets, (n,) if the learner answers with one number, else (n, dim).

        Returns:
            The regressor itself.

        Raises:
            ValueError, TypeError: As `partial_fit`.
        """
        return self._learn(None, X, y)

    def partial_fit(self, X: ArrayLike | Tensor, y: ArrayLike | Tensor) -> ContinualRegressor:
        """Reads more examples, in order. The result is the same, up to rounding, however they are split over
        calls.

        Args:
            X: Inputs, (n, features): a numpy array, tensor, list or pandas frame; one example is
                (1, features).
            y: Targets, (n,) if the learner answers with one number, else (n, dim).

        Returns:
            The regressor itself.

        Raises:
            ValueError: If scikit-learn refuses X or y, they do not fit the learner or hold numbers too large
                for it, or no learner was given.
            TypeError: If X is sparse, or `learner` is not a learner.
            MambaclError: If the learner cannot be found or read.
        """
        return self._learn(self._fitted, X, y)

    def predict(self, X: ArrayLike | Tensor) -> NDArray[np.float64]:
        """The learner's answer to each query.

        Args:
            X: Inputs, (n, features).

        Returns:
            (n,) if the learner answers with one number, else (n, dim).

        Raises:
            NotFittedError: If no example has been read.
            ValueError, TypeError: If scikit-learn refuses X, or a value is too large for the learner.
        """
        fitted = self._known()
        answers = fitted.stream.answer(self._queries(fitted, X)).numpy()
        return answers[:, 0] if answers.shape[1] == 1 else answers

    def _find_learner(self) -> Learner:
        if self.learner is None and (self._resolved is None or self._resolved[0] is not None):
            raise InvalidValueError(
                "ContinualRegressor: argument `learner` must be given: no regression learner comes with the "
                "package. Meta-train one, as `mambacl train sine-mamba` does"
            )
        return super()._find_learner()

    def _learn(
        self, before: Fitted | None, X: ArrayLike | Tensor, y: ArrayLike | Tensor
    ) -> ContinualRegressor:
        """Reads examples after the fitted state `before`; None begins a new stream."""
        learner = self._learner_after(before)
        dim = target_numbers(learner)
        inputs = self._inputs(before)
        x, targets = inputs.examples(learner, X, as_numpy(y), y_numeric=True, multi_output=True)
        if targets.dtype.kind not in "biuf":
            raise InvalidValueError(f"ContinualRegressor: y must be numbers, got the dtype {targets.dtype}")
        if not np.isfinite(targets).all():
            raise InvalidValueError("ContinualRegressor: y must be finite numbers, got NaN, infinity or None")
        if dim == 1:
            targets = column_or_1d(targets, warn=True)
        elif targets.shape != (len(x), dim):
            raise ShapeError(
                f"ContinualRegressor: y must have shape (n, {dim}), as the learner's answers, "
                f"got {targets.shape}"
            )
        vectors = torch.tensor(targets, dtype=torch.float64).reshape(len(x), dim)
        stream = self._begin(learner, inputs.features) if before is None else before.stream
        self._keep(learner, Fitted(stream.read(x, vectors), Labels(), inputs.features, inputs.names))
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True  # accuracy on other data depends on the learner
        vectors = isinstance(self.learner, Learner) and target_numbers(self.learner) > 1
        tags.target_tags.single_output = not vectors
        tags.target_tags.multi_output = vectors
        return tags
