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
    """A classifier that learns from labelled examples by reading each once: no gradient step, no example kept
    (but for `mambacl.streams.stream.OPENING` where features are adapted), memory of fixed size.

    Classes may be new at any time, up to the learner's vocabulary. All of a call is learnt, or nothing: after
    an error the classifier is as it was.

    **Features.** Where the learner's encoder takes another number of features than X has, with one of the
    package's own learners, or with `adapt=True`, they are standardised by the mean and variance of the
    stream's first examples and projected at random; see `mambacl.streams.adapter.Adapter`. Examples are read
    as they look at that time, except that the first ten are read again while there are no more. Images, for a
    learner with a `CnnEncoder`, may come as (n, channels, height, width) or laid out in rows.

    **Labels** are texts, or numbers of one sort: bools, integers from -2^63 to 2^64 - 1, or whole floats
    of at most 64 bits. All of a stream are of the sort of the first and come back as they were given. A text
    has at most `mambacl.streams.labels.LONGEST` characters, none half a surrogate pair. Objects of classes
    that derive from `str` or `int`, such as members of an enumeration, are no labels.

    **Parameters** given to `set_params` take effect at the next `fit`, or at `partial_fit` after `reset`;
    until then `predict` and `save` go on with what was fitted. With another learner `partial_fit` cannot
    read on and is an error.

    **Copies.** `pickle`, `copy.deepcopy` and `joblib` carry the bytes of a safetensors file. An object may be
    asked from many threads while one changes it; they see what was learnt before a call or after it.

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
            y: Labels, (n,): texts, or numbers of one sort.

        Returns:
            Itself.

        Raises:
            ValueError, TypeError: As `partial_fit`.
        """
        return self._learn(None, X, y)

    def partial_fit(
        self, X: ArrayLike | Tensor, y: ArrayLike | Tensor, classes: ArrayLike | Tensor | None = None
    ) -> ContinualClassifier:
        """Reads more examples, in order. At once, in pieces and one by one come to the same up to rounding.

        Args:
            X: Inputs, (n, features), of numpy, torch, lists or a pandas frame; one example is (1, features).
            y: Labels, (n,): texts, or numbers of one sort, as those before.
            classes: Classes that may come. They need not be named: those that are stand in `classes_` from
                now on, with probability 0 until an example shows them.

        Returns:
            Itself.

        Raises:
            ValueError: If X or y is not what scikit-learn takes for such (NaN, infinity, no rows, another
                number of features); or, as one of mambacl's errors, if a label is no label or of another sort
                than those before, there are more classes than the learner has symbols, numbers are too large
                for the learner, a parameter is out of its range, or `learner` is another than the one that
                has read the stream.
            TypeError: If X is sparse, or `learner` is none.
            MambaclError: If the learner cannot be found or read.
        """
        return self._learn(self._fitted, X, y, classes)

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
        fitted = self._known()
        return fitted.labels.classes[self._log_proba(fitted, X).argmax(1).numpy()]

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
        logits, seen = self._logits(self._known(), X)
        unseen = logits.masked_fill(seen, -torch.inf).logsumexp(1)
        return (unseen - logits.logsumexp(1)).exp().clamp(0, 1).numpy()

    @property
    def classes_(self) -> NDArray[Any]:
        """The classes so far, sorted, (n_classes,)."""
        return self._known().labels.classes

    def _learn(
        self,
        before: Fitted | None,
        X: ArrayLike | Tensor,
        y: ArrayLike | Tensor,
        classes: ArrayLike | Tensor | None = None,
    ) -> ContinualClassifier:
        """Reads on after what was learnt before."""
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
        """Logits by number of label, (n, vocab), and whether an example has shown it, (vocab,)."""
        x = self._queries(fitted, X)
        stream = fitted.stream
        assert stream.state.seen is not None
        logits, seen = stream.answer(x), stream.state.seen[0].cpu()
        if logits[:, seen].isneginf().all(1).any():
            raise InvalidValueError("X holds a value too large for the learner: it is far from all classes")
        return logits, seen

    def _log_proba(self, fitted: Fitted, X: ArrayLike | Tensor) -> Tensor:
        """(n, n_classes) in the order of `classes_`."""
        logits, seen = self._logits(fitted, X)
        return logits.masked_fill(~seen, -torch.inf).log_softmax(1)[:, fitted.labels.order]
