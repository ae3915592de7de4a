"""Fake kernels: the shapes, dtypes and strides that the operators give, for `torch.compile` and "meta".

The real kernels lay states out with channels last in memory and return the transpose; the strides here say
the same, since a compiled program relies on them.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Loading the engine defines the operators.
from mambacl import _core  # noqa: F401


def _state_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _channels_first_view(like: Tensor, rows: int, channels: int, width: int, dtype: torch.dtype) -> Tensor:
    """(rows, channels, width), with channels last in memory."""
    return like.new_empty((rows, width, channels), dtype=dtype).transpose(1, 2)


def _absent(like: Tensor) -> Tensor:
    return like.new_empty((0,))


def _gradient(tensor: Tensor | None, leading: Tensor) -> Tensor:
    return _absent(leading) if tensor is None else tensor.new_empty(tensor.shape)


def _state_gradient(state: Tensor | None, leading: Tensor) -> Tensor:
    if state is None:
        return _absent(leading)
    rows, channels, width = state.shape
    return _channels_first_view(state, rows, channels, width, state.dtype)


@torch.library.register_fake("mambacl::selective_scan")
def _(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    initial_state: Tensor | None,
    return_final_state: bool,
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor]:
    batch, _length, d_inner = u.shape
    y = u.new_empty(u.shape)
    if not return_final_state:
        return y, _absent(u)
    return y, _channels_first_view(u, batch, d_inner, A.shape[1], _state_dtype(u.dtype))


@torch.library.register_fake("mambacl::selective_scan_backward")
def _(
    dy: Tensor,
    dfinal_state: Tensor | None,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    initial_state: Tensor | None,
    lengths: Tensor | None,
) -> list[Tensor]:
    gradients = [_gradient(tensor, u) for tensor in (u, delta, A, B, C, D, z, delta_bias)]
    return [*gradients, _state_gradient(initial_state, u)]


@torch.library.register_fake("mambacl::causal_conv1d")
def _(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    silu: bool,
    initial_window: Tensor | None,
    return_final_window: bool,
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor]:
    batch, _length, d_inner = x.shape
    y = x.new_empty(x.shape)
    if not return_final_window:
        return y, _absent(x)
    return y, _channels_first_view(x, batch, d_inner, weight.shape[1] - 1, _state_dtype(x.dtype))


@torch.library.register_fake("mambacl::causal_conv1d_backward")
def _(
    dy: Tensor,
    dfinal_window: Tensor | None,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    silu: bool,
    initial_window: Tensor | None,
    lengths: Tensor | None,
) -> list[Tensor]:
    gradients = [_gradient(tensor, x) for tensor in (x, weight, bias)]
    return [*gradients, _state_gradient(initial_window, x)]
