"""The labels of a stream, strings or numbers, and the learner's numbers for them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mambacl.errors import FileError, InvalidValueError
from mambacl.streams.arrays import as_numpy

Label = str | bool | int | float
"""A label as a Python value."""

LONGEST = 1 << 18
"""Largest number of characters of a label."""

_RULE = (
    "ContinualClassifier's labels must be strings, or numbers of one type: bools, integers from -2^63 to "
    "2^64 - 1, or whole floats of at most 64 bits"
)
_SORTS = {"b": "bools", "i": "integers", "u": "integers", "f": "floats", "U": "strings", "O": "strings"}
_WIDE = 256  # characters; longer strings are objects, as in an array each string is as wide as the longest
_DTYPE = re.compile(r"[<>=|]?([biuf][0-9]{1,2}|U[0-9]{1,9}|O)")


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels of a stream, numbered in the order of their first appearance.

    Attributes:
        values: Labels by number: `values[i]` has number i. All are strings, or numbers of one type.
        dtype: Dtype of arrays of labels, wide enough for all of them; None without labels.

    Examples:
        >>> labels, numbers = Labels().reading(np.array(["b", "a", "b"]), vocab=4)
        >>> labels.values, numbers.tolist(), labels.classes.tolist(), labels.order.tolist()
        (('b', 'a'), [0, 1, 0], ['a', 'b'], [1, 0])
    """

    values: tuple[Label, ...] = ()
    dtype: np.dtype[Any] | None = None

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """The numbers of the labels, sorted by label, (classes,) int64."""
        return np.array(sorted(range(len(self.values)), key=self.values.__getitem__), dtype=np.int64)

    @cached_property
    def classes(self) -> NDArray[Any]:
        """The labels, sorted, (classes,)."""
        classes = np.array([self.values[number] for number in self.order], dtype=self.dtype)
        classes.flags.writeable = False  # callers get this array itself
        return classes

    @cached_property
    def _numbers(self) -> dict[Label, int]:
        return {value: number for number, value in enumerate(self.values)}

    def reading(
        self, y: NDArray[Any], vocab: int, declared: NDArray[Any] | None = None
    ) -> tuple[Labels, NDArray[np.int64]]:
        """Numbers the labels of examples; new labels get new numbers.

        Args:
            y: Labels from `label_array`, (n,): all strings or all numbers of one type, the type of earlier
                labels.
            vocab: Largest number of labels.
            declared: Labels that may appear later; they are numbered first.

        Returns:
            The labels including the new ones, and the numbers of `y`, (n,) int64.

        Raises:
            InvalidValueError: If a label is invalid, is of another type than earlier ones, or exceeds
                `vocab`.
        """
        if declared is None and len(y) == 1 and (number := self._known(y)) is not None:
            return self, np.array([number])
        values = dict(self._numbers)
        labels = self
        for part in [y] if declared is None else [declared, y]:
            if not len(part):  # no label, and so no type of labels
                continue
            check_kind(part)
            for label in _first_seen(part):
                if label in values:
                    continue
                _check_text(label)
                if len(values) == vocab:
                    raise InvalidValueError(
                        f"ContinualClassifier: the learner has {vocab} symbols, one for each class, and none "
                        f"is left for class {_shown(label)}. No example of this call was learnt"
                    )
                values[label] = len(values)
            dtype = _common_dtype(labels.dtype, part, tuple(values))
            if dtype != labels.dtype or len(values) != len(labels.values):
                labels = Labels(tuple(values), dtype)
        unique, inverse = np.unique(y, return_inverse=True)
        numbers = np.array([values[label] for label in unique.tolist()], dtype=np.int64)
        return labels, numbers[inverse]

    def _known(self, y: NDArray[Any]) -> int | None:
        """The number of one label, (1,), that is known and does not widen the dtype; else None."""
        dtype, kind = self.dtype, y.dtype.kind
        if dtype is None or kind != dtype.kind or (kind != "U" and y.dtype.itemsize > dtype.itemsize):
            return None
        return self._numbers.get(y.item())

    @staticmethod
    def stored(values: tuple[Label, ...], dtype: str, seen: Tensor | None, where: str) -> Labels:
        """Labels as a file stores them, checked.

        Args:
            values: Labels in the order of their numbers.
            dtype: Numpy's name of the dtype of arrays of labels; empty without labels.
            seen: Whether an example has shown each number, (1, vocab) bool; None for vector targets.
            where: Name of the file, for messages.

        Raises:
            FileError: If the labels are invalid, or do not fit `dtype` or `seen`.
        """
        if seen is None and not values:
            return Labels()
        shown = [] if seen is None else seen[0].nonzero().flatten().tolist()
        if seen is None or not shown or len(values) > seen.shape[1] or shown[-1] >= len(values):
            raise FileError(f"{where} must have a label for each class that it has seen, got {len(values)}")
        if len(set(values)) != len(values):
            raise FileError(f"{where} must name each class once")
        try:
            return _in_dtype(values, dtype)
        except (TypeError, ValueError, OverflowError) as error:
            raise FileError(f"{where} holds invalid labels: {error}") from error


def label_array(y: Any) -> Any:
    """Converts labels to an array without changing any of them.

    For a list, numpy alone would cut NULs at the end of strings, and turn True beside 2 into 1, and 1 beside
    2.0 into 1.0.

    Args:
        y: Labels, (n,). Values that are not a list or an array, and nested ones, are returned unchanged for
            scikit-learn's checks.

    Raises:
        InvalidValueError: If an object is not a valid label, or two labels have different types.

    Examples:
        >>> label_array(["a", "b\\0"]).tolist(), label_array([2**63, 1]).dtype
        (['a', 'b\\x00'], dtype('uint64'))
        >>> label_array([1, 2.0])
        Traceback (most recent call last):
        ...
        mambacl.errors.InvalidValueError: Unknown label type: ContinualClassifier's labels must be strings, \
or numbers of one type: bools, integers from -2^63 to 2^64 - 1, or whole floats of at most 64 bits, got \
float, int: 1 and 2.0
    """
    if isinstance(y, list | tuple):
        values: list[Any] = list(y)
        shape: tuple[int, ...] = (len(values),)
    else:
        array = np.asarray(as_numpy(y)) if isinstance(y, Tensor) or hasattr(y, "__array__") else y
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "OT":
            return array
        y, values, shape = array, array.astype(object).ravel().tolist(), array.shape
    sorts = set(map(_sort, set(map(type, values))))
    if None in sorts:  # a zero-dimensional array holds one label
        arrays = [as_numpy(value) for value in values]
        values = [one[()] if isinstance(one, np.ndarray) and one.ndim == 0 else one for one in arrays]
        sorts = set(map(_sort, set(map(type, values))))
    if values and all(isinstance(value, list | tuple) and len(value) == 1 for value in values):
        column = label_array([value[0] for value in values])
        return column.reshape(-1, 1) if isinstance(column, np.ndarray) else y
    if not values or any(isinstance(value, list | tuple | np.ndarray) for value in values):
        return y
    if None in sorts:
        raise _refused(next(value for value in values if _sort(type(value)) is None))
    if len(sorts) > 1:
        first = _sort(type(values[0]))
        raise _refused(values[0], next(value for value in values if _sort(type(value)) != first))
    if sorts == {"strings"}:
        plain = [str(value) for value in values]
        as_objects = isinstance(y, np.ndarray) or _text_dtype(plain).kind == "O"
        return np.array(plain, dtype=object if as_objects else None).reshape(shape)
    array = np.asarray(values)
    if sorts == {"integers"} and array.dtype.kind not in "iu":
        array = np.array([int(value) for value in values], dtype=_integer_dtype(values))
    return array.reshape(shape)


def check_kind(y: NDArray[Any]) -> None:
    """Checks that labels are strings, bools, integers or whole floats.

    Raises:
        InvalidValueError: If a label is of another type.
    """
    kind = y.dtype.kind
    if kind in "biuU":
        return
    if kind == "O":
        odd = (value for value in y.flat if type(value) is not str)
    elif kind == "f" and y.dtype.itemsize <= 8:
        odd = iter(y[~(np.isfinite(y) & (y == np.trunc(y)))].tolist())
    else:
        odd = iter(y.flat)
    for label in odd:
        raise _refused(label)


def _refused(*labels: Any) -> InvalidValueError:
    kinds = ", ".join(sorted({type(label).__name__ for label in labels}))
    return InvalidValueError(f"Unknown label type: {_RULE}, got {kinds}: {' and '.join(map(_shown, labels))}")


def _shown(label: Any) -> str:
    text = repr(label)
    return text if len(text) <= 80 else f"{text[:77]}..."


@functools.cache
def _sort(kind: type) -> str | None:
    """The name for labels of a Python or numpy type; None for types that are not valid."""
    if issubclass(kind, np.generic):
        dtype = np.dtype(kind)
        return _SORTS.get(dtype.kind) if dtype.itemsize <= 8 and dtype.kind != "O" else None
    return {str: "strings", bool: "bools", int: "integers", float: "floats"}.get(kind)


def _check_text(label: Label) -> None:
    """Checks that a file can store a string.

    Raises:
        InvalidValueError: If the string is too long, or not valid UTF-8.
    """
    if not isinstance(label, str):
        return
    if len(label) > LONGEST:
        raise InvalidValueError(
            f"ContinualClassifier: a label must have at most {LONGEST:,} characters, got {len(label):,}: "
            f"{_shown(label)}"
        )
    if not label.isascii():
        try:
            label.encode()
        except UnicodeEncodeError:
            raise InvalidValueError(
                "ContinualClassifier: a label must be a valid UTF-8 string, got half a surrogate pair "
                f"in {_shown(label)}"
            ) from None


def _first_seen(y: NDArray[Any]) -> Iterable[Label]:
    """The distinct labels, in the order of their first appearance."""
    unique, first = np.unique(y, return_index=True)
    return unique[np.argsort(first)].tolist()


def _text_dtype(values: Iterable[str]) -> np.dtype[Any]:
    """The dtype of arrays that hold strings unchanged and waste little memory."""
    longest = 1
    for value in values:
        longest = max(longest, len(value))
        if longest > _WIDE or value.endswith("\0"):  # numpy's strings lose NULs at their end
            return np.dtype(object)
    return np.dtype(f"U{longest}")


def _integer_dtype(values: Sequence[Any]) -> np.dtype[Any]:
    """The dtype of arrays that hold all of the given integers.

    Raises:
        InvalidValueError: If no integer dtype of 64 bits holds all of them.
    """
    low, high = int(min(values)), int(max(values))
    if low >= -(2**63) and high < 2**63:
        return np.dtype(np.int64)
    if low >= 0 and high < 2**64:
        return np.dtype(np.uint64)
    if low >= -(2**63) and high < 2**64:
        raise InvalidValueError(
            "ContinualClassifier: labels of 2^63 or more and negative labels do not go together, as no "
            f"integer dtype of 64 bits holds both, got {low} and {high}"
        )
    raise _refused(high if high >= 2**64 else low)


def _common_dtype(known: np.dtype[Any] | None, y: NDArray[Any], values: tuple[Label, ...]) -> np.dtype[Any]:
    """The common dtype of known labels and new labels `y`; `values` holds all of them.

    Raises:
        InvalidValueError: If the new labels are of another type.
    """
    sorts = [_SORTS[y.dtype.kind] if dtype is None else _SORTS[dtype.kind] for dtype in (known, y.dtype)]
    if sorts[0] != sorts[1]:
        if "strings" in sorts:
            sorts = [sort if sort == "strings" else "numbers" for sort in sorts]
        label = _shown(y.flat[0].item() if isinstance(y.flat[0], np.generic) else y.flat[0])
        raise InvalidValueError(
            f"ContinualClassifier: labels must be {sorts[0]}, as earlier labels, got {sorts[1]}: {label}"
        )
    if sorts[0] == "strings":
        as_objects = y.dtype.kind == "O" or (known is not None and known.kind == "O")
        return np.dtype(object) if as_objects else _text_dtype(map(str, values))
    dtype = y.dtype.newbyteorder("=") if known is None else np.result_type(known, y.dtype)
    # For int64 and uint64 numpy gives float64, which does not hold all of their values.
    return _integer_dtype(values) if sorts[0] == "integers" and dtype.kind == "f" else dtype


def _in_dtype(values: tuple[Label, ...], dtype: str) -> Labels:
    """Labels of the dtype that a file names, checked."""
    if _DTYPE.fullmatch(dtype) is None:
        raise InvalidValueError(f"labels must be strings or numbers, got the dtype {dtype!r}")
    parsed = np.dtype(dtype)
    if parsed.kind in "UO":
        texts = [value for value in values if isinstance(value, str)]
        for text in texts:
            _check_text(text)
        room = LONGEST if parsed.kind == "O" else min(parsed.itemsize // 4, LONGEST)
        cut = parsed.kind == "U" and any(text.endswith("\0") for text in texts)
        if len(texts) != len(values) or max(map(len, texts)) > room or cut:
            raise InvalidValueError(f"{dtype!r} does not hold them as they are")
        return Labels(values, parsed if parsed.kind == "O" else _text_dtype(texts))
    if parsed.itemsize > 8 or any(isinstance(value, str) for value in values):
        raise InvalidValueError(f"{dtype!r} does not hold them as they are")
    with np.errstate(all="ignore"):
        array = np.array(values, dtype=parsed)
    check_kind(array)
    exact: list[Label] = array.tolist()
    if exact != list(values):
        raise InvalidValueError(f"{dtype!r} does not hold them as they are")
    return Labels(tuple(exact), parsed.newbyteorder("="))
