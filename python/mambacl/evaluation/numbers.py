"""Numbers of users, as tensors: they may come as a tensor, an array of numpy, or lists."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mambacl.errors import DtypeError, ShapeError

Numbers = Tensor | npt.ArrayLike
"""A tensor of any device, an array, a number, or lists of numbers."""


def as_float64(owner: str, name: str, numbers: Numbers) -> Tensor:
    """Numbers as a tensor.

    Args:
        owner: Whose argument they are, for messages.
        name: Of the argument.
        numbers: Integers or floating point; bool, complex numbers and texts are none.

    Returns:
        The same shape, float64, on the CPU, without a gradient.

    Raises:
        DtypeError: If they are no numbers.
        ShapeError: If lists are of several lengths.

    Examples:
        >>> as_float64("Scores", "values", np.array([1, 2]))
        tensor([1., 2.], dtype=torch.float64)
    """
    if isinstance(numbers, Tensor):
        if numbers.dtype == torch.bool or numbers.is_complex():
            raise DtypeError(f"{owner}: `{name}` must hold numbers, got {numbers.dtype}")
        return numbers.detach().to("cpu", torch.float64)
    try:
        array: npt.NDArray[Any] = np.asarray(numbers)
    except (ValueError, OverflowError) as error:
        raise ShapeError(
            f"{owner}: `{name}` must be an array of numbers, got lists of several lengths"
        ) from error
    if array.dtype.kind not in "fiu":
        got = type(numbers).__name__ if array.dtype.kind == "O" else array.dtype
        raise DtypeError(f"{owner}: `{name}` must hold numbers, got {got}")
    return torch.from_numpy(array.astype(np.float64))  # a copy, of any byte order and strides
