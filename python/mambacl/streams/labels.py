"""The labels of a stream, texts or numbers, and the learner's numbers for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mambacl.errors import FileError, InvalidValueError

Label = str | bool | int | float
"""A label as Python has it."""

_WIDEST = 1 << 20  # bytes of a text in an array


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels that a stream has shown, numbered in the order in which they came.

    Attributes:
        values: The labels; that of number i is `values[i]`.
        dtype: Of arrays of them: wide enough for all.

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
        classes.flags.writeable = False  # it is handed out
        return classes

    @cached_property
    def _numbers(self) -> dict[Label, int]:
        return {value: number for number, value in enumerate(self.values)}

    def reading(
        self, y: NDArray[Any], vocab: int, declared: NDArray[Any] | None = None
    ) -> tuple[Labels, NDArray[np.int64]]:
        """The numbers of labels, new ones included.

        Args:
            y: Labels, (n,), all texts or all numbers, as those before.
            vocab: Numbers that there are.
            declared: Labels that may come, numbered first.

        Returns:
            The labels after these, and the numbers of `y`, (n,) int64.

        Raises:
            InvalidValueError: If a label is neither text nor number, of another sort than those before, or
                one too many.
        """
        if declared is None and len(y) == 1 and (number := self._known(y)) is not None:
            return self, np.array([number])
        parts = [y] if declared is None else [declared, y]
        dtype = self.dtype
        for part in parts:
            dtype = _common_dtype(dtype, part)
        known = self._numbers
        values = list(self.values)
        new = (label for part in parts for label in _first_seen(part) if label not in known)
        for label in dict.fromkeys(new):
            if len(values) == vocab:
                raise InvalidValueError(
                    f"ContinualClassifier: the learner has {vocab} symbols, one for each class, and all are "
                    f"taken: there is none for class {label!r}. Nothing of this call was learnt"
                )
            values.append(label)
        labels = (
            self if len(values) == len(self.values) and dtype == self.dtype else Labels(tuple(values), dtype)
        )
        labels.check_exact()
        unique, inverse = np.unique(y, return_inverse=True)
        numbers = np.array([labels._numbers[label] for label in unique.tolist()], dtype=np.int64)
        return labels, numbers[inverse]

    def _known(self, y: NDArray[Any]) -> int | None:
        """The number of one label that came before, in an array that makes the dtype no wider."""
        dtype = self.dtype
        if dtype is None or y.dtype.kind != dtype.kind or y.dtype.itemsize > dtype.itemsize:
            return None
        return self._numbers.get(y.item())

    @staticmethod
    def stored(values: tuple[Label, ...], dtype: str, seen: Tensor | None, where: str) -> Labels:
        """The labels of a file.

        Args:
            values: In the order of their numbers.
            dtype: Of arrays of them, as numpy writes it; empty where there are none.
            seen: Which numbers examples have shown, (1, vocab) bool; None where targets are vectors.
            where: The file's name, for messages.

        Raises:
            FileError: If they do not fit to one another.
        """
        if seen is None and not values:
            return Labels()
        try:
            parsed = np.dtype(dtype)
            if parsed.kind not in "biufUO" or parsed.itemsize > _WIDEST:
                raise InvalidValueError(f"labels must be texts or numbers, got the dtype {dtype!r}")
            labels = Labels(values, parsed)
            labels.check_exact()
        except (TypeError, ValueError, OverflowError) as error:
            raise FileError(f"{where} holds labels that cannot be: {error}") from error
        shown = [] if seen is None else seen[0].nonzero().flatten().tolist()
        if seen is None or not shown or len(values) > seen.shape[1] or shown[-1] >= len(values):
            raise FileError(f"{where} must have a label for each class that it has seen, got {len(values)}")
        if len(set(values)) != len(values):
            raise FileError(f"{where} must name each class once")
        return labels

    def check_exact(self) -> None:
        """Checks that an array can hold the labels as they are.

        Raises:
            InvalidValueError: If it cannot, as float64 cannot hold all of int64.
        """
        if self.classes.tolist() != [self.values[number] for number in self.order]:
            raise InvalidValueError(
                f"ContinualClassifier: labels must be exact in the dtype that holds them all, {self.dtype}"
            )


def _first_seen(y: NDArray[Any]) -> Iterable[Label]:
    """The different labels in the order in which they first came."""
    unique, first = np.unique(y, return_index=True)
    return unique[np.argsort(first)].tolist()


def check_kind(y: NDArray[Any]) -> None:
    """Checks that labels are texts, or numbers in an array of such.

    Raises:
        InvalidValueError: If they are not.
    """
    if y.dtype.kind in "biufU" or (y.dtype.kind == "O" and all(isinstance(value, str) for value in y.flat)):
        return
    kinds = sorted({type(value).__name__ for value in y.flat})
    raise InvalidValueError(
        "Unknown label type: ContinualClassifier's labels must be texts, or numbers in an array of such, "
        f"got an array of dtype {y.dtype} with {', '.join(kinds)}"
    )


def _common_dtype(known: np.dtype[Any] | None, y: NDArray[Any]) -> np.dtype[Any]:
    """The dtype of labels known and new, if they go together."""
    check_kind(y)
    if known is None:
        return y.dtype
    if (known.kind in "UO") != (y.dtype.kind in "UO"):
        names = ["texts" if dtype.kind in "UO" else "numbers" for dtype in (known, y.dtype)]
        raise InvalidValueError(
            f"ContinualClassifier: labels must be {names[0]}, as those before, got {names[1]}"
        )
    return np.result_type(known, y.dtype)
