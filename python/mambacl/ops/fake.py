"""Fake kernels: the shapes, dtypes and strides that the operators give, for `torch.compile` and "meta".

The real kernels lay states out with channels last in memory and return the transpose; the strides here say
the same, since a compiled program relies on them.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Loading the engine defines the operators.
from mambacl import _core  # noqa: F401
from mambacl.errors import ShapeError


def _refuse_where(wrong: bool, message: str) -> None:
    """Raises where something is known to be wrong: of symbolic sizes it may not be."""
    # Not at the head of the file: it takes long to import, and only fake tensors need it.
    from torch.fx.experimental.symbolic_shapes import guard_or_false

    if guard_or_false(wrong):
        raise ShapeError(message)


def _fits(op: str, name: str, tensor: Tensor | None, *shape: int) -> None:
    """Refuses a shape that the real kernel refuses."""
    if tensor is None:
        return
    _axes(op, name, tensor, len(shape))
    for got, expected in zip(tensor.shape, shape, strict=True):
        if got is not expected:
            message = f"{op}: argument `{name}` must have shape {shape}, got {tuple(tensor.shape)}"
            _refuse_where(got != expected, message)


def _scan_fits(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    initial_state: Tensor | None,
    lengths: Tensor | None,
) -> tuple[int, int, int, int]:
    """batch, length, d_inner and d_state of arguments that agree on them."""
    op = "selective_scan"
    _axes(op, "u", u, 3)
    _axes(op, "A", A, 2)
    (batch, length, d_inner), d_state = u.shape, A.shape[1]
    _fits(op, "A", A, d_inner, d_state)
    for name, tensor in (("delta", delta), ("z", z)):
        _fits(op, name, tensor, batch, length, d_inner)
    for name, tensor in (("B", B), ("C", C)):
        _fits(op, name, tensor, batch, length, d_state)
    for name, tensor in (("D", D), ("delta_bias", delta_bias)):
        _fits(op, name, tensor, d_inner)
    _state_fits(op, "initial_state", initial_state, batch, d_inner, d_state)
    _fits(op, "lengths", lengths, batch)
    return batch, length, d_inner, d_state


def _conv_fits(
    x: Tensor, weight: Tensor, bias: Tensor | None, initial_window: Tensor | None, lengths: Tensor | None
) -> tuple[int, int, int, int]:
    """batch, length, d_inner and d_conv of arguments that agree on them."""
    op = "causal_conv1d"
    _axes(op, "x", x, 3)
    _axes(op, "weight", weight, 2)
    (batch, length, d_inner), d_conv = x.shape, weight.shape[1]
    _fits(op, "weight", weight, d_inner, d_conv)
    _fits(op, "bias", bias, d_inner)
    _state_fits(op, "initial_window", initial_window, batch, d_inner, d_conv - 1)
    _fits(op, "lengths", lengths, batch)
    return batch, length, d_inner, d_conv


def _axes(op: str, name: str, tensor: Tensor, axes: int) -> None:
    if tensor.dim() != axes:
        got = tuple(tensor.shape)
        raise ShapeError(f"{op}: argument `{name}` must have shape of {axes} axes, got {got}")


def _state_fits(op: str, name: str, state: Tensor | None, batch: int, channels: int, width: int) -> None:
    if state is None:
        return
    _axes(op, name, state, 3)
    groups = state.shape[0]
    _fits(op, name, state, groups, channels, width)
    message = f"{op}: argument `{name}` must be of a divisor of {batch} rows, got {groups}"
    _refuse_where(batch != 0 if groups == 0 else batch % groups != 0, message)


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
    batch, _, d_inner, d_state = _scan_fits(u, delta, A, B, C, D, z, delta_bias, initial_state, lengths)
    y = u.new_empty(u.shape)
    if not return_final_state:
        return y, _absent(u)
    return y, _channels_first_view(u, batch, d_inner, d_state, _state_dtype(u.dtype))


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
    sizes = _scan_fits(u, delta, A, B, C, D, z, delta_bias, initial_state, lengths)
    batch, length, d_inner, d_state = sizes
    _fits("selective_scan", "dy", dy, batch, length, d_inner)
    _fits("selective_scan", "dfinal_state", dfinal_state, batch, d_inner, d_state)
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
    batch, _, d_inner, d_conv = _conv_fits(x, weight, bias, initial_window, lengths)
    y = x.new_empty(x.shape)
    if not return_final_window:
        return y, _absent(x)
    return y, _channels_first_view(x, batch, d_inner, d_conv - 1, _state_dtype(x.dtype))


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
    batch, length, d_inner, d_conv = _conv_fits(x, weight, bias, initial_window, lengths)
    _fits("causal_conv1d", "dy", dy, batch, length, d_inner)
    _fits("causal_conv1d", "dfinal_window", dfinal_window, batch, d_inner, d_conv - 1)
    gradients = [_gradient(tensor, x) for tensor in (x, weight, bias)]
    return [*gradients, _state_gradient(initial_window, x)]
