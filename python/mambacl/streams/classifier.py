"""A classifier that learns from a stream by reading it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d
from torch import Tensor

from mambacl.errors import InvalidValueError
from mambacl.streams.estimator import StreamEstimator, as_numpy
from mambacl.streams.labels import check_kind
from mambacl.streams.one_row import is_clean_label
from mambacl.streams.stream import target_numbers


class ContinualClassifier(ClassifierMixin, StreamEstimator):
    """A classifier that learns from labelled examples by reading each once: no gradient step, no example kept
    (but for `mambacl.streams.stream.OPENING` where features are adapted), memory of fixed size.

    Classes may be new at any time, up to the learner's vocabulary. All of a call is learnt, or nothing: after
    an error the classifier is as it was.

    **Features.** Where the learner's encoder takes another number of features than X has, with one of the
    package's own learners, or with `adapt=True`, they are standardised by the mean and variance of the
    stream's first examples and projected at random; see `mambacl.streams.adapter.Adapter`. Examples are read
    as they look at that time, except that the first ten are read again while there are no more. Images, for a
    learner with a `CnnEncoder`, may come as (n, channels, height, width) or laid out in rows.

    **Copies.** `pickle`, `copy.deepcopy` and `joblib` carry the bytes of a safetensors file. An object may be
    asked from many threads; let one at a time change it.

    Args:
        learner: A `Learner` of classes, the folder of a run, a file of `mambacl.save_learner`, the name of a
            learner that comes with the package ("prototype" or "mamba2"; "./mamba2" is a file of that name),
            or None for the first of these. A learner that is given is used as it is, not copied, and must not
            change while the stream lasts; many classifiers may share it.
        random_state: Of the symbols that stand for the classes and of the random projection: a number from 0
            to 2^32 - 1, a `numpy.random.RandomState`, or None for another at each stream.
        adapt: "auto" adapts features if there are more or fewer than the encoder takes, or the learner is one
            of the package's; True always; False never, and another number is an error.

    Attributes:
        classes_: The classes so far, sorted, (n_classes,).
        n_features_in_: Numbers in an input.
        feature_names_in_: Names of the features, where X had them (as a pandas frame has).
        n_samples_seen_: Examples read.
        state_: The learner's state.
        state_nbytes_: Bytes kept of the stream.

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
        """Forgets the stream and reads another: `reset`, then `partial_fit`, or neither if that fails.

        Args:
            X: Inputs, (n, features).
            y: Labels, (n,): texts or numbers.

        Returns:
            Itself.

        Raises:
            ValueError, TypeError: As `partial_fit`.
        """
        with self._whole_or_not():
            self.reset()
            self._read(X, y, None)
        return self

    def partial_fit(
        self, X: ArrayLike | Tensor, y: ArrayLike | Tensor, classes: ArrayLike | Tensor | None = None
    ) -> ContinualClassifier:
        """Reads more examples, in order. At once, in pieces and one by one come to the same up to rounding.

        Args:
            X: Inputs, (n, features), of numpy, torch, lists or a pandas frame; one example is (1, features).
            y: Labels, (n,): texts or numbers.
            classes: Classes that may come. They need not be named: those that are stand in `classes_` from
                now on, with probability 0 until an example shows them.

        Returns:
            Itself.

        Raises:
            ValueError: If X or y is not what scikit-learn takes for such (NaN, infinity, no rows, another
                number of features, continuous labels); or, as one of mambacl's errors, if there are more
                classes than the learner has symbols, labels are of another sort than those before, numbers
                are too large for the learner, or a parameter is out of its range.
            TypeError: If X is sparse, or `learner` is none.
            MambaclError: If the learner cannot be found or read.
        """
        with self._whole_or_not():
            self._read(X, y, classes)
        return self

    def predict(self, X: ArrayLike | Tensor) -> NDArray[Any]:
        """The most probable class of each query, among those that examples have shown.

        Args:
            X: Inputs, (n, features).

        Returns:
            Labels, (n,).

        Raises:
            NotFittedError: If no example has been read.
            ValueError, TypeError: If X is not what scikit-learn takes for such, or too large for the learner.
        """
        log_proba = self._log_proba(X)  # before `classes_`, which may not be there
        return self.classes_[log_proba.argmax(1).numpy()]

    def predict_proba(self, X: ArrayLike | Tensor) -> NDArray[np.float64]:
        """The learner's probability of each class: the softmax over those that examples have shown.

        Args:
            X: Inputs, (n, features).

        Returns:
            (n, n_classes) in the order of `classes_`; rows sum to 1. How well calibrated they are is the
            learner's affair: `mambacl.evaluate` measures it on episodes.

        Raises:
            NotFittedError, ValueError, TypeError: As `predict`.
        """
        return self._log_proba(X).exp().numpy()

    def predict_log_proba(self, X: ArrayLike | Tensor) -> NDArray[np.float64]:
        """The logarithm of `predict_proba`, -inf for classes that no example has shown.

        Args:
            X: Inputs, (n, features).

        Returns:
            (n, n_classes) in the order of `classes_`.

        Raises:
            NotFittedError, ValueError, TypeError: As `predict`.
        """
        return self._log_proba(X).numpy()

    def unseen_proba(self, X: ArrayLike | Tensor) -> NDArray[np.float64]:
        """A score for "none of the classes seen": the share of the softmax over the whole vocabulary that
        symbols without an example get.

        What it is worth depends on the learner. Meta-training asks only for classes of the stream, so that
        this share is pushed towards 0 and is no calibrated probability: rank queries by it, and choose a
        threshold on data of yours. Learners that give such symbols no probability, as class means do, answer
        0 always; so does every learner when all symbols are taken.

        Args:
            X: Inputs, (n, features).

        Returns:
            (n,), from 0 to 1.

        Raises:
            NotFittedError, ValueError, TypeError: As `predict`.
        """
        logits, seen = self._logits(X)
        unseen = logits.masked_fill(seen, -torch.inf).logsumexp(1)
        return (unseen - logits.logsumexp(1)).exp().clamp(0, 1).numpy()

    @property
    def classes_(self) -> NDArray[Any]:
        """The classes so far, sorted, (n_classes,)."""
        self._fitted_stream()
        return self._labels.classes

    def _read(self, X: ArrayLike | Tensor, y: ArrayLike | Tensor, classes: ArrayLike | Tensor | None) -> None:
        vocab = target_numbers(self._find_learner())
        x, targets = self._examples(X, y)
        declared = None if classes is None else column_or_1d(as_numpy(classes))
        for part in (targets, declared):
            if part is not None and not is_clean_label(part):
                check_kind(part)
                check_classification_targets(part)
        labels, numbers = self._labels.reading(targets, vocab, declared)
        self._stream = self._current().read(x, torch.from_numpy(numbers))
        self._labels = labels

    def _logits(self, X: ArrayLike | Tensor) -> tuple[Tensor, Tensor]:
        """Logits by number of label, (n, vocab), and whether an example has shown it, (vocab,)."""
        x = self._queries(X)
        state = self._fitted_stream().state
        assert state.seen is not None
        logits, seen = self._fitted_stream().answer(x), state.seen[0].cpu()
        if logits[:, seen].isneginf().all(1).any():
            raise InvalidValueError("X holds a value too large for the learner: it is far from all classes")
        return logits, seen

    def _log_proba(self, X: ArrayLike | Tensor) -> Tensor:
        """(n, n_classes) in the order of `classes_`."""
        logits, seen = self._logits(X)
        return logits.masked_fill(~seen, -torch.inf).log_softmax(1)[:, self._labels.order]
