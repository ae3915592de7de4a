"""Conversion of tensors to numpy arrays."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_OF_NUMPY = (torch.float16, torch.float32, torch.float64)


def as_numpy(array: Any) -> Any:
    """Converts a tensor to a numpy array; returns anything else unchanged.

    Args:
        array: Tensor, or any other value. Floating dtypes that numpy lacks become float32.

    Raises:
        TypeError: If the tensor is sparse, has no memory (meta device), or has a dtype that numpy lacks.
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
