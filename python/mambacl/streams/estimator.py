"""The base class of the classifier and the regressor: a learner, one stream, scikit-learn's interface."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from torch import Tensor

from mambacl import files
from mambacl.config import CnnEncoder
from mambacl.errors import FileError, InvalidValueError, ShapeError
from mambacl.flags import flag
from mambacl.learner import Learner
from mambacl.state import LearnerState
from mambacl.streams import estimator_file
from mambacl.streams.arrays import as_numpy
from mambacl.streams.estimator_file import Adapt, Content, is_seed
from mambacl.streams.fitted import Fitted
from mambacl.streams.inputs import Inputs
from mambacl.streams.learner_source import LearnerSource, find_learner, same_source
from mambacl.streams.not_fitted import NotFittedError
from mambacl.streams.one_row import clean_row
from mambacl.streams.pretrained import packaged_name
from mambacl.streams.stream import Stream, input_numbers

Self = TypeVar("Self", bound="StreamEstimator")


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The state of an estimator at one moment, for its method `restore`.

    Attributes:
        learner: Learner that read the stream.
        fitted: Fitted state; None before any example.
    """

    learner: Learner
    fitted: Fitted | None


class StreamEstimator(BaseEstimator):
    """Base class of estimators that learn from one stream by reading it.

    All fitted state is in one attribute, `_fitted`. A call that learns assigns it once, and a method that
    uses it reads it once.
    """

    _resolved: tuple[LearnerSource, Learner] | None = None  # the parameter `learner`, and its learner
    _fitted: Fitted | None = None

    _classifies: ClassVar[bool]

    def __init__(
        self, learner: LearnerSource = None, *, random_state: Any = 0, adapt: Adapt = "auto"
    ) -> None:
        self.learner = learner
        self.random_state = random_state
        self.adapt: Adapt = adapt

    def reset(self: Self) -> Self:
        """Forgets the stream and keeps the parameters.

        Returns:
            The estimator itself.
        """
        vars(self).pop("_fitted", None)
        return self

    def snapshot(self) -> Snapshot:
        """Keeps the present state for `restore`. A snapshot costs a few references, as fitted state is never
        changed in place.

        Returns:
            The snapshot, which only this object can restore. Use `save` for other objects.
        """
        if (fitted := self._fitted) is not None:
            return Snapshot(fitted.stream.learner, fitted)
        learner = self._find_learner()
        self._resolved = (self.learner, learner)
        return Snapshot(learner, None)

    def restore(self: Self, snapshot: Snapshot) -> Self:
        """Sets the estimator to the state of a snapshot, earlier or later.

        Args:
            snapshot: Snapshot of this object.

        Returns:
            The estimator itself.

        Raises:
            InvalidValueError: If the snapshot is of another learner.
            TypeError: If the argument is not a snapshot.
        """
        _check_snapshot(snapshot)
        if snapshot.learner is not (learner := self._find_learner()):
            raise InvalidValueError(
                "restore: argument `snapshot` must be of this object's learner, got another's"
            )
        if snapshot.fitted is None:
            return self.reset()
        self._keep(learner, snapshot.fitted)
        return self

    @property
    def n_features_in_(self) -> int:
        """Number of features of an input."""
        return self._known().features

    @property
    def feature_names_in_(self) -> NDArray[Any]:
        """Names of the features, (features,) strings; AttributeError if X had none."""
        if (names := self._known().names) is None:
            raise AttributeError(f"{type(self).__name__}: X had no feature names")
        return np.array(names, dtype=object)

    @feature_names_in_.setter
    def feature_names_in_(self, names: ArrayLike) -> None:
        known, given = self._known(), tuple(map(str, np.asarray(names, dtype=object).ravel()))
        if len(given) != known.features:
            raise ShapeError(
                f"{type(self).__name__}: `feature_names_in_` must have {known.features} names, one for each "
                f"feature of X, got {len(given)}"
            )
        self._fitted = dataclasses.replace(known, names=given)

    @property
    def state_(self) -> LearnerState:
        """The learner's state; its batch is this one stream."""
        return self._known().stream.state

    @property
    def state_nbytes_(self) -> int:
        """Bytes kept for the stream: the learner's state and, if features are adapted, the adapter and the
        first examples. Names of labels and the learner's weights are not counted."""
        return self._known().stream.nbytes

    @property
    def n_samples_seen_(self) -> int:
        """Number of examples read since the last `reset` or `fit`."""
        return self._known().stream.state.examples

    def save(self, path: Path | str) -> None:
        """Writes learner, state, labels, adapter and parameters to one safetensors file.

        The file is written whole or not at all, and only after a check that its bytes can be read. It holds
        the fitted learner, not one passed to `set_params` since then.

        Args:
            path: Path of the file; an existing file is replaced.

        Raises:
            FileError: If the file cannot be written, or its content could not be read again.
            InvalidValueError: If a parameter is out of its range, or the labels are too long for a file.
            TypeError: If the learner is of a class derived from `Learner`, which a file cannot restore.
        """
        kind = type(self).__name__
        files.write(path, self._packed(), lambda data: estimator_file.unpack(data, kind, "the file"))

    @classmethod
    def load(cls: type[Self], path: Path | str) -> Self:
        """Reads a file written by `save`.

        Args:
            path: Path of the file.

        Returns:
            The estimator, on the CPU, in the state that was saved. Its parameter `learner` is the learner of
            the file, or the name of a learner of the package.

        Raises:
            FileError: If the file cannot be read, is damaged, truncated, changed, or of a newer format, or
                does not hold an estimator of this class.
        """
        where = f"`{files.shown(path)}`"
        estimator = cls()
        content = estimator._unpack(files.read(path), where)
        estimator.random_state, estimator.adapt = content.random_state, content.adapt
        estimator.learner = content.packaged or content.learner
        estimator._resolved = (estimator.learner, content.learner)
        if content.fitted is not None:
            estimator._fitted = content.fitted
        return estimator

    def __sklearn_is_fitted__(self) -> bool:
        return self._fitted is not None

    def __getstate__(self) -> dict[str, Any]:
        """The state for copies in memory: parameters, and the bytes of a file for everything with tensors."""
        apart = {"learner", "_resolved", "_fitted"}
        attributes = {name: value for name, value in vars(self).items() if name not in apart}
        given = self.learner
        if self._resolved is None and not isinstance(given, Learner):
            return {**attributes, "learner": given, "packed": None}
        source, learner = self._in_use()
        return {
            **attributes,
            "learner": _portable(given, learner),
            "source": _portable(source, learner),
            "packed": self._packed(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        packed, given, source = state.pop("packed"), state.pop("learner"), state.pop("source", None)
        vars(self).update(state)
        if packed is None:
            self.learner = given
            return
        content = self._unpack(packed, "the pickle")
        self.learner = _restored(given, content.learner)
        self._resolved = (_restored(source, content.learner), content.learner)
        if content.fitted is not None:
            self._fitted = content.fitted

    def _packed(self) -> bytes:
        fitted, random_state = self._fitted, self.random_state
        source, learner = self._in_use()
        if not isinstance(random_state, Integral | None):
            check_random_state(random_state)
            random_state = None if fitted is None else fitted.stream.seed
        number = None if random_state is None else self._checked_seed(random_state)
        content = Content(learner, packaged_name(source), number, self._checked_adapt(), fitted)
        return estimator_file.pack(type(self).__name__, content)

    def _unpack(self, data: bytes, where: str) -> Content:
        content = estimator_file.unpack(data, type(self).__name__, where)
        try:
            self._check_kind(content.learner)
        except InvalidValueError as error:
            raise FileError(f"{where} holds a learner of the wrong kind: {error}") from error
        return content

    def _known(self) -> Fitted:
        """The fitted state. A method reads it once only, as another thread may learn meanwhile.

        Raises:
            NotFittedError: If no example has been read.
        """
        if (fitted := self._fitted) is None:
            raise NotFittedError(
                f"This {type(self).__name__} instance is not fitted yet: it has read no example. "
                "Call `partial_fit` or `fit` first."
            )
        return fitted

    @abstractmethod
    def _learn(self: Self, before: Fitted | None, X: ArrayLike | Tensor, y: ArrayLike | Tensor) -> Self:
        """Reads examples after the fitted state `before`; None begins a new stream."""

    def _keep(self, learner: Learner, fitted: Fitted) -> None:
        self._resolved = (self.learner, learner)
        self._fitted = fitted

    def _in_use(self) -> tuple[LearnerSource, Learner]:
        """The learner that read the stream, after the parameter that it came from. Before any example, those
        that the next call would use."""
        if self._fitted is not None and self._resolved is not None:
            return self._resolved
        return self.learner, self._find_learner()

    def _find_learner(self) -> Learner:
        """The learner that the parameter `learner` names."""
        resolved = self._resolved
        known = resolved is not None and same_source(resolved[0], self.learner)
        learner = resolved[1] if resolved is not None and known else find_learner(self.learner)
        self._check_kind(learner)
        return learner

    def _learner_after(self, before: Fitted | None) -> Learner:
        """The learner that continues the fitted state `before`.

        Raises:
            InvalidValueError: If another learner has read that stream.
        """
        learner = self._find_learner()
        if before is not None and learner is not before.stream.learner:
            raise InvalidValueError(
                f"{type(self).__name__}: argument `learner` was changed in mid-stream, and another learner "
                "cannot continue it: call `fit` or `reset` to start again with it, or set the previous one"
            )
        return learner

    def _check_kind(self, learner: Learner) -> None:
        if learner.is_classifier != self._classifies:
            expected = "classes" if self._classifies else "vectors"
            raise InvalidValueError(
                f"{type(self).__name__}: argument `learner` must answer with {expected}, got one with the "
                f"target {learner.config.target}"
            )

    def _begin(self, learner: Learner, features: int) -> Stream:
        """A stream before any example.

        Raises:
            ShapeError: If the number of features does not fit the learner and features are not adapted.
            InvalidValueError: If images are to be adapted.
        """
        adapt, takes = self._checked_adapt(), input_numbers(learner)
        image = isinstance(learner.config.encoder, CnnEncoder)
        if features != takes and (adapt is False or image):
            raise ShapeError(
                f"{type(self).__name__}: X has {features} features, but the learner takes {takes} "
                f"{'pixels, which cannot be adapted' if image else 'and adapt=False'}"
            )
        if adapt is True and image:
            raise InvalidValueError(f"{type(self).__name__}: images cannot be adapted, got adapt=True")
        # The package's learners were meta-trained on adapted features, whatever the number of features.
        own = adapt == "auto" and packaged_name(self.learner) is not None
        return Stream.begin(learner, self._seed(), features, adapt=adapt is True or features != takes or own)

    def _checked_adapt(self) -> Adapt:
        adapt: Any = self.adapt
        if isinstance(adapt, str) and adapt == "auto":
            return "auto"
        return flag(type(self).__name__, "adapt", adapt, "True, False or 'auto'")

    def _seed(self) -> int:
        if isinstance(self.random_state, Integral):
            return self._checked_seed(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31))

    def _checked_seed(self, random_state: Any) -> int:
        if not is_seed(seed := int(random_state)):
            raise InvalidValueError(
                f"{type(self).__name__}: argument `random_state` must be from 0 to 2^32 - 1, got {seed}"
            )
        return seed

    def _inputs(self, fitted: Fitted | None) -> Inputs:
        return Inputs(type(self).__name__, self.__sklearn_tags__(), fitted)

    def _queries(self, fitted: Fitted, X: ArrayLike | Tensor) -> Tensor:
        """Queries, checked by scikit-learn, (n, features) float64."""
        if (row := self._clean_row(fitted, X)) is not None:
            return row
        return self._inputs(fitted).queries(fitted.stream.learner, X)

    def _clean_row(self, fitted: Fitted | None, X: Any) -> Tensor | None:
        """One row that passes scikit-learn's checks without a warning, or None.

        With feature names it is always None, as scikit-learn then warns about rows without names.
        """
        if fitted is None or fitted.names is not None:
            return None
        return clean_row(as_numpy(X), fitted.features)


def _check_snapshot(snapshot: object) -> None:
    if not isinstance(snapshot, Snapshot):
        raise TypeError(f"restore: argument `snapshot` must be a Snapshot, got {type(snapshot).__name__}")


def _portable(source: LearnerSource, packed: Learner) -> tuple[str, Any]:
    """The parameter `learner` as a pickle stores it; `packed` is the learner already stored as bytes."""
    if source is packed:
        return "packed", None
    if not isinstance(source, Learner):
        return "source", source
    return "bytes", estimator_file.learner_bytes(source)


def _restored(portable: tuple[str, Any], packed: Learner) -> LearnerSource:
    """The inverse of `_portable`."""
    kind, value = portable
    if kind == "bytes":
        return Learner.from_bytes(value, "the learner in the pickle")
    return packed if kind == "packed" else value
