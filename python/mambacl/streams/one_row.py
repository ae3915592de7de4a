"""Fast path: one clean row or label skips scikit-learn's validation, which takes longer than a learner."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

_NATIVE = {np.dtype(kind).str for kind in (np.float32, np.float64)}


def clean_row(x: Any, features: int) -> Tensor | None:
    """Returns one row of finite numbers as (1, features) float64, and None for anything else, valid or not.

    Args:
        x: Candidate of any type; only a float32 or float64 array of shape (1, features) can be a clean row.
        features: Required number of features.

    Examples:
        >>> clean_row(np.array([[1.0, 2.0]], dtype=np.float32), 2)
        tensor([[1., 2.]], dtype=torch.float64)
        >>> clean_row(np.array([[1.0, np.nan]]), 2) is None, clean_row([[1.0, 2.0]], 2) is None
        (True, True)
    """
    if type(x) is not np.ndarray or x.shape != (1, features) or x.dtype.str not in _NATIVE:
        return None
    return torch.from_numpy(x.astype(np.float64, order="C")) if np.isfinite(x).all() else None


def is_clean_label(y: Any) -> bool:
    """Whether y is an array of one label, a string or an integer."""
    return type(y) is np.ndarray and y.shape == (1,) and y.dtype.kind in "iuU"
