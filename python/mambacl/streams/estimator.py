"""What the classifier and the regressor share: a learner, one stream, and scikit-learn's habits."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data
from torch import Tensor

from mambacl import files
from mambacl.config import CnnEncoder
from mambacl.errors import InvalidValueError, ShapeError
from mambacl.learner import Learner
from mambacl.state import LearnerState
from mambacl.streams import estimator_file
from mambacl.streams.estimator_file import Adapt, Content, Fitted
from mambacl.streams.labels import Labels
from mambacl.streams.learner_source import LearnerSource, find_learner
from mambacl.streams.not_fitted import NotFittedError
from mambacl.streams.one_row import clean_row, is_clean_label
from mambacl.streams.pretrained import packaged_name
from mambacl.streams.stream import Stream, input_numbers

# What was learnt: values that are never changed in place, so that to copy the references is to copy it all.
_FITTED = ("_stream", "_labels", "n_features_in_", "feature_names_in_")

Self = TypeVar("Self", bound="StreamEstimator")


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What an estimator knew at some moment, to be given to its `restore`.

    Attributes:
        learner: Which read the stream.
        fitted: The estimator's attributes that were learnt; all are values that never change.
    """

    learner: Learner
    fitted: Mapping[str, Any]


class StreamEstimator(BaseEstimator):
    """An estimator that learns from one stream by reading it. See the classes that derive from it."""

    _resolved: tuple[LearnerSource, Learner] | None = None
    _stream: Stream | None = None
    _labels: Labels = Labels()

    _classifies: ClassVar[bool]

    def __init__(
        self, learner: LearnerSource = None, *, random_state: Any = 0, adapt: Adapt = "auto"
    ) -> None:
        self.learner = learner
        self.random_state = random_state
        self.adapt: Adapt = adapt

    def reset(self: Self) -> Self:
        """Forgets the stream; the parameters stay.

        Returns:
            Itself.
        """
        for name in self._fitted():
            del vars(self)[name]
        return self

    def snapshot(self) -> Snapshot:
        """What is known now, at the cost of a few references: nothing that was learnt is ever changed in
        place. Undo is `restore`.

        Returns:
            The snapshot, for this object alone; `save` is for others.
        """
        return Snapshot(self._find_learner(), self._fitted())

    def restore(self: Self, snapshot: Snapshot) -> Self:
        """Goes back to a snapshot, or forth to one.

        Args:
            snapshot: Of this object.

        Returns:
            Itself.

        Raises:
            InvalidValueError: If the snapshot is of another learner.
            TypeError: If it is none.
        """
        _check_snapshot(snapshot)
        if snapshot.learner is not self._find_learner():
            raise InvalidValueError(
                "restore: argument `snapshot` must be of this object's learner, got another's"
            )
        self.reset()
        vars(self).update(snapshot.fitted)
        return self

    @property
    def state_(self) -> LearnerState:
        """The learner's state, of one stream."""
        return self._fitted_stream().state

    @property
    def state_nbytes_(self) -> int:
        """The bytes that are kept of the stream: the learner's state and, where features are adapted, the
        adapter and the first examples. Labels' names and the learner's weights are not counted."""
        return self._fitted_stream().nbytes

    @property
    def n_samples_seen_(self) -> int:
        """The examples read since the last `reset` or `fit`."""
        return self._fitted_stream().state.examples

    def save(self, path: Path | str) -> None:
        """Writes learner, state, labels, adapter and parameters as one safetensors file, whole or not at all.

        Args:
            path: The file; one that was there is replaced.

        Raises:
            FileError: If the file cannot be written, or what is to be written could not be read again.
            TypeError: If the learner is of a class derived from `Learner`, which a file cannot bring back.
        """
        files.write(path, self._packed(), lambda data: type(self)()._unpack(data, "the file"))

    @classmethod
    def load(cls: type[Self], path: Path | str) -> Self:
        """Reads what `save` wrote.

        Args:
            path: The file.

        Returns:
            The estimator, on the CPU, which goes on where that one was. Its parameter `learner` is the
            learner of the file, or its name where that is one of the package's.

        Raises:
            FileError: If the file cannot be read, is damaged, truncated, changed, of a newer format, or
                of something else.
        """
        where = f"`{files.shown(path)}`"
        estimator = cls()
        content = estimator._unpack(files.read(path), where)
        estimator.random_state, estimator.adapt = content.random_state, content.adapt
        estimator.learner = content.packaged or content.learner
        estimator._resolved = (estimator.learner, content.learner)
        return estimator

    def __sklearn_is_fitted__(self) -> bool:
        return self._stream is not None

    def __getstate__(self) -> dict[str, Any]:
        """For copies in memory: the parameters, and the bytes of a file for what holds tensors."""
        own = isinstance(self.learner, Learner)
        packed = self._packed() if own or self._resolved is not None else None
        apart = {"learner", "_resolved", *_FITTED}
        attributes = {name: value for name, value in vars(self).items() if name not in apart}
        return {**attributes, "learner": None if own else self.learner, "own": own, "packed": packed}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        own, packed = state.pop("own"), state.pop("packed")
        vars(self).update(state)
        if packed is not None:
            learner = self._unpack(packed, "the pickle").learner
            if own:
                self.learner = learner
            self._resolved = (self.learner, learner)

    def _packed(self) -> bytes:
        learner = self._find_learner()
        fitted: Fitted | None = None
        random_state = self.random_state
        if self._stream is not None:
            names = getattr(self, "feature_names_in_", None)
            features = self.n_features_in_
            fitted = Fitted(self._stream, self._labels, features, None if names is None else tuple(names))
        if not isinstance(random_state, Integral | None):
            random_state = None if fitted is None else fitted.stream.seed
        number = None if random_state is None else int(random_state)
        content = Content(learner, packaged_name(self.learner), number, self.adapt, fitted)
        return estimator_file.pack(type(self).__name__, content)

    def _unpack(self, data: bytes, where: str) -> Content:
        """Takes over what was fitted; the learner and the parameters are the caller's to use."""
        content = estimator_file.unpack(data, type(self).__name__, where)
        self._check_kind(content.learner)
        if (fitted := content.fitted) is not None:
            self._stream, self._labels, self.n_features_in_ = fitted.stream, fitted.labels, fitted.features
            if fitted.names is not None:
                self.feature_names_in_ = np.array(fitted.names, dtype=object)
        return content

    @contextmanager
    def _whole_or_not(self) -> Generator[None]:
        """What is done inside is undone if it fails."""
        before = dict(vars(self))
        try:
            yield
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    def _fitted(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name in _FITTED}

    def _fitted_stream(self) -> Stream:
        if self._stream is None:
            raise NotFittedError(
                f"This {type(self).__name__} instance is not fitted yet: it has read no example. "
                "Call `partial_fit` or `fit` first."
            )
        return self._stream

    def _find_learner(self) -> Learner:
        if self._resolved is None or self._resolved[0] is not self.learner:
            self._resolved = (self.learner, find_learner(self.learner))
        learner = self._resolved[1]
        self._check_kind(learner)
        return learner

    def _check_kind(self, learner: Learner) -> None:
        if learner.is_classifier != self._classifies:
            expected = "classes" if self._classifies else "vectors"
            raise InvalidValueError(
                f"{type(self).__name__}: argument `learner` must answer with {expected}, got one with the "
                f"target {learner.config.target}"
            )

    def _current(self) -> Stream:
        """The stream so far, or its beginning."""
        if self._stream is not None:
            return self._stream
        learner = self._find_learner()
        if self.adapt not in (True, False, "auto"):
            raise InvalidValueError(
                f"{type(self).__name__}: argument `adapt` must be True, False or 'auto', got {self.adapt!r}"
            )
        takes, features = input_numbers(learner), self.n_features_in_
        image = isinstance(learner.config.encoder, CnnEncoder)
        if features != takes and (self.adapt is False or image):
            raise ShapeError(
                f"{type(self).__name__}: X has {features} features, but the learner takes {takes} "
                f"{'pixels, which cannot be adapted' if image else 'and adapt=False'}"
            )
        if self.adapt is True and image:
            raise InvalidValueError(f"{type(self).__name__}: images cannot be adapted, got adapt=True")
        # The package's own were meta-trained on what the adapter gives, whatever the number of features.
        own = self.adapt == "auto" and packaged_name(self.learner) is not None
        adapt = self.adapt is True or features != takes or own
        return Stream.begin(learner, self._seed(), features, adapt=adapt)

    def _seed(self) -> int:
        if not isinstance(self.random_state, Integral):
            return int(check_random_state(self.random_state).randint(2**31))
        seed = int(self.random_state)
        if not 0 <= seed < 2**32:
            raise InvalidValueError(
                f"{type(self).__name__}: argument `random_state` must be from 0 to 2^32 - 1, got {seed}"
            )
        return seed

    def _examples(
        self, X: ArrayLike | Tensor, y: ArrayLike | Tensor, **checks: Any
    ) -> tuple[Tensor, NDArray[Any]]:
        """Examples as scikit-learn checks them: (n, features) float64, and targets."""
        first = self._stream is None
        targets: Any = as_numpy(y)
        if (row := self._clean_row(X)) is not None and is_clean_label(targets):
            return row, targets
        x, targets = validate_data(self, self._rows(X), targets, reset=first, dtype=np.float64, **checks)
        return torch.from_numpy(np.array(x, order="C")), targets

    def _queries(self, X: ArrayLike | Tensor) -> Tensor:
        """Queries as scikit-learn checks them, (n, features) float64."""
        self._fitted_stream()
        if (row := self._clean_row(X)) is not None:
            return row
        checked = validate_data(self, self._rows(X), reset=False, dtype=np.float64)
        return torch.from_numpy(np.array(checked, order="C"))  # torch takes no negative strides

    def _clean_row(self, X: Any) -> Tensor | None:
        """One row that scikit-learn would find nothing to say of: it warns where others had names."""
        if self._stream is None or hasattr(self, "feature_names_in_"):
            return None
        return clean_row(as_numpy(X), self.n_features_in_)

    def _rows(self, X: Any) -> Any:
        """Inputs with a row for each; images, (n, channels, height, width), are laid out in one."""
        array = as_numpy(X)
        if not isinstance(array, np.ndarray) or array.ndim != 4:
            return array
        shape = self._find_learner().config.encoder.input_shape
        if array.shape[1:] != shape or 0 in array.shape:
            raise ShapeError(
                f"{type(self).__name__}: X must have shape (n, features), or that of the learner's images, "
                f"(n, {', '.join(map(str, shape))}), got {array.shape}"
            )
        return array.reshape(len(array), -1)


def _check_snapshot(snapshot: object) -> None:
    if not isinstance(snapshot, Snapshot):
        raise TypeError(f"restore: argument `snapshot` must be a Snapshot, got {type(snapshot).__name__}")


def as_numpy(array: Any) -> Any:
    """A tensor as an array; all else as it is."""
    if not isinstance(array, Tensor):
        return array
    array = array.detach().cpu()
    return (array.float() if array.dtype == torch.bfloat16 else array).numpy()
