"""Tensors as arrays."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_OF_NUMPY = (torch.float16, torch.float32, torch.float64)


def as_numpy(array: Any) -> Any:
    """A tensor as an array; all else as it is.

    Raises:
        TypeError: If the tensor is sparse, without memory, or of a dtype that numpy lacks.
    """
    if not isinstance(array, Tensor):
        return array
    try:
        array = array.detach().cpu().resolve_conj().resolve_neg()
        wide = array.float() if array.is_floating_point() and array.dtype not in _OF_NUMPY else array
        return wide.numpy()
    except (RuntimeError, TypeError) as error:
        raise TypeError(
            "a tensor must be dense and of a dtype that numpy has, got one of dtype "
            f"{array.dtype}, layout {array.layout} on {array.device}"
        ) from error
