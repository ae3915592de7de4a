"""A classifier that learns from a stream by reading it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import column_or_1d
from torch import Tensor

from mambacl.errors import InvalidValueError
from mambacl.streams.arrays import as_numpy
from mambacl.streams.estimator import StreamEstimator
from mambacl.streams.fitted import Fitted
from mambacl.streams.labels import Labels, label_array
from mambacl.streams.one_row import is_clean_label
from mambacl.streams.stream import target_numbers


class ContinualClassifier(ClassifierMixin, StreamEstimator):
    """A classifier that learns from labelled examples by reading each one once.

    It takes no gradient step and its memory has a fixed size. It keeps no examples, except the first
    `mambacl.streams.stream.OPENING` if features are adapted. New classes may appear at any time, up to the
    learner's vocabulary. A call learns all of its examples or none: after an error the classifier is
    unchanged.

    **Features.** Features are adapted if the learner's encoder takes another number of features than X has,
    if the learner is one of the package's, or if `adapt=True`. Then they are standardised by the mean and
    variance of the stream's first examples and projected at random; see `mambacl.streams.adapter.Adapter`.
    Each example is read with the statistics of its time, except that the first ten are read again with each
    new one of them. A learner with a `CnnEncoder` takes images as (n, channels, height, width), or flattened.

    **Labels** are strings, or numbers of one type: bools, integers from -2^63 to 2^64 - 1, or whole floats
    of at most 64 bits. All labels of a stream have the type of the first, and are returned unchanged. A
    string has at most `mambacl.streams.labels.LONGEST` characters and is valid UTF-8. Objects of classes
    that derive from `str` or `int`, such as members of an enumeration, are not accepted.

    **Parameters** set by `set_params` take effect at the next `fit`, or at `partial_fit` after `reset`.
    Until then `predict` and `save` use the fitted state. After a change of the learner, `partial_fit` raises
    an error.

    **Copies.** `pickle`, `copy.deepcopy` and `joblib` store the bytes of a safetensors file. Many threads may
    query an object while one thread changes it; they see the state before or after a call.

    Args:
        learner: A `Learner` of classes, the folder of a run, a file of `mambacl.save_learner`, the name of a
            packaged learner ("prototype" or "mamba2"; "./mamba2" is a file of that name), or None for
            "prototype". A `Learner` is not copied and must not change while the stream lasts; many
            classifiers may share it.
        random_state: Seed of the symbols that stand for classes and of the random projection, 0 to 2^32 - 1;
            or a `numpy.random.RandomState`; or None for a new seed for each stream.
        adapt: "auto" adapts features if their number differs from what the encoder takes, or if the learner
            is one of the package's; True adapts always; False never, and another number of features raises
            an error.

    Attributes:
        classes_: Classes seen or declared so far, sorted, (n_classes,).
        n_features_in_: Number of features of an input.
        feature_names_in_: Names of the features, if X had names, as a pandas frame has.
        n_samples_seen_: Number of examples read.
        state_: The learner's state.
        state_nbytes_: Bytes kept for the stream.

    Examples:
        >>> from mambacl import ContinualClassifier, Learner, PrototypeConfig, VectorEncoder
        >>> learner = Learner(PrototypeConfig(VectorEncoder(dim=16)))  # class means need no meta-training
        >>> classifier = ContinualClassifier(learner)
        >>> classifier = classifier.partial_fit([[0.0, 1.0], [0.2, 1.1]], ["cat", "cat"])
        >>> classifier = classifier.partial_fit([[5.0, -1.0]], ["dog"])  # a new class
        >>> classifier.predict([[4.0, -1.0], [0.0, 0.9]]).tolist()
        ['dog', 'cat']
        >>> classifier.classes_.tolist(), classifier.n_samples_seen_
        (['cat', 'dog'], 3)
    """

    _classifies = True

    def fit(self, X: ArrayLike | Tensor, y: ArrayLike | Tensor) -> ContinualClassifier:
        """Forgets the stream and reads a new one. If that fails, the old one stays.

        Args:
            X: Inputs, (n, features).
            y: Labels, (n,): strings, or numbers of one type.

        Returns:
            The classifier itself.

        Raises:
            ValueError, TypeError: As `partial_fit`.
        """
        return self._learn(None, X, y)

    def partial_fit(
        self, X: ArrayLike | Tensor, y: ArrayLike | Tensor, classes: ArrayLike | Tensor | None = None
    ) -> ContinualClassifier:
        """Reads more examples, in order. The result is the same, up to rounding, however they are split over
        calls.

        Args:
            X: Inputs, (n, features): a numpy array, tensor, list or pandas frame; one example is
                (1, features).
            y: Labels, (n,): strings, or numbers of one type, the type of earlier labels.
            classes: Classes that may appear later (optional). They are in `classes_` from now on, with
                probability 0 until an example shows them.

        Returns:
            The classifier itself.

        Raises:
            ValueError: If scikit-learn refuses X or y (NaN, infinity, no rows, another number of features);
                or, as an error of mambacl, if a label is invalid or of another type than earlier ones, there
                are more classes than the learner has symbols, numbers are too large for the learner, a
                parameter is out of range, or `learner` is not the learner that has read the stream.
            TypeError: If X is sparse, or `learner` is not a learner.
            MambaclError: If the learner cannot be found or read.
        """
        return self._learn(self._fitted, X, y, classes)

    def predict(self, X: ArrayLike | Tensor) -> NDArray[Any]:
        """The most probable class of each query, among the classes that examples have shown.

        Args:
            X: Inputs, (n, features).

        Returns:
            Labels, (n,).

        Raises:
            NotFittedError: If no example has been read.
            ValueError, TypeError: If scikit-learn refuses X, or a value is too large for the learner.
        """
        fitted = self._known()
        return fitted.labels.classes[self._log_proba(fitted, X).argmax(1).numpy()]

    def predict_proba(self, X: ArrayLike | Tensor) -> NDArray[np.float64]:
        """The learner's probability of each class: the softmax over the classes that examples have shown.

        Args:
            X: Inputs, (n, features).

        Returns:
            (n, n_classes) in the order of `classes_`; rows sum to 1. Their calibration depends on the
            learner; `mambacl.evaluate` measures it on episodes.

        Raises:
            NotFittedError, ValueError, TypeError: As `predict`.
        """
        return self._log_proba(self._known(), X).exp().numpy()

    def predict_log_proba(self, X: ArrayLike | Tensor) -> NDArray[np.float64]:
        """The logarithm of `predict_proba`, -inf for classes that no example has shown.

        Args:
            X: Inputs, (n, features).

        Returns:
            (n, n_classes) in the order of `classes_`.

        Raises:
            NotFittedError, ValueError, TypeError: As `predict`.
        """
        return self._log_proba(self._known(), X).numpy()

    def unseen_proba(self, X: ArrayLike | Tensor) -> NDArray[np.float64]:
        """A score for "none of the classes seen": the total softmax probability, over the whole vocabulary,
        of symbols without an example.

        Its quality depends on the learner. Meta-training has no queries of unseen classes, so it pushes this
        score towards 0, and the score is not a calibrated probability: rank queries by it, and choose a
        threshold on your own data. It is always 0 for learners that give such symbols no probability, such
        as class means, and when every symbol has an example.

        Args:
            X: Inputs, (n, features).

        Returns:
            Scores, (n,), from 0 to 1.

        Raises:
            NotFittedError, ValueError, TypeError: As `predict`.
        """
        logits, seen = self._logits(self._known(), X)
        unseen = logits.masked_fill(seen, -torch.inf).logsumexp(1)
        return (unseen - logits.logsumexp(1)).exp().clamp(0, 1).numpy()

    @property
    def classes_(self) -> NDArray[Any]:
        """Classes seen or declared so far, sorted, (n_classes,)."""
        return self._known().labels.classes

    def _learn(
        self,
        before: Fitted | None,
        X: ArrayLike | Tensor,
        y: ArrayLike | Tensor,
        classes: ArrayLike | Tensor | None = None,
    ) -> ContinualClassifier:
        """Reads examples after the fitted state `before`; None begins a new stream."""
        learner = self._learner_after(before)
        targets: Any = as_numpy(y)
        row = self._clean_row(before, X)
        if before is not None and row is not None and is_clean_label(targets):
            x, features, names = row, before.features, before.names
        else:
            inputs = self._inputs(before)
            x, targets = inputs.examples(learner, X, label_array(targets))
            features, names = inputs.features, inputs.names
        declared = None if classes is None else column_or_1d(label_array(as_numpy(classes)))
        known = Labels() if before is None else before.labels
        labels, numbers = known.reading(targets, target_numbers(learner), declared)
        stream = self._begin(learner, features) if before is None else before.stream
        self._keep(learner, Fitted(stream.read(x, torch.from_numpy(numbers)), labels, features, names))
        return self

    def _logits(self, fitted: Fitted, X: ArrayLike | Tensor) -> tuple[Tensor, Tensor]:
        """Logits by number of label, (n, vocab), and whether an example has shown each label, (vocab,)."""
        x = self._queries(fitted, X)
        stream = fitted.stream
        assert stream.state.seen is not None
        logits, seen = stream.answer(x), stream.state.seen[0].cpu()
        if logits[:, seen].isneginf().all(1).any():
            raise InvalidValueError("X holds a value too large for the learner: it is far from all classes")
        return logits, seen

    def _log_proba(self, fitted: Fitted, X: ArrayLike | Tensor) -> Tensor:
        """Log probabilities, (n, n_classes) in the order of `classes_`."""
        logits, seen = self._logits(fitted, X)
        return logits.masked_fill(~seen, -torch.inf).log_softmax(1)[:, fitted.labels.order]
