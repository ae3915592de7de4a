"""The selective scan: the recurrence of a selective state-space model."""

from __future__ import annotations

from typing import Literal, overload

import torch
from torch import Tensor

from mambacl import _core
from mambacl.ops import reference, transforms
from mambacl.ops.checks import check_devices, check_flags, check_lengths, check_types

# The fake kernel answers for "meta".
_DEVICES = ("cpu", "cuda", "meta")


@overload
def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    initial_state: Tensor | None = None,
    return_final_state: Literal[False] = False,
    lengths: Tensor | None = None,
) -> Tensor: ...


@overload
def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    initial_state: Tensor | None = None,
    *,
    return_final_state: Literal[True],
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor]: ...


@overload
def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    initial_state: Tensor | None = None,
    return_final_state: bool = False,
    lengths: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]: ...


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    initial_state: Tensor | None = None,
    return_final_state: bool = False,
    lengths: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Runs the recurrence of a selective state-space model over time, in one fused kernel.

    With `delta'` = `delta + delta_bias`, through softplus if asked for,

        h_t = exp(delta'_t A) h_{t-1} + delta'_t B_t u_t
        y_t = (C_t h_t + D u_t) silu(z_t)

    for every sequence and channel: equation (2) of Mamba (arXiv:2312.00752), with A discretised by
    zero-order hold and B by Euler's rule, as in its authors' code.

    Tensors are float32, bfloat16 or float16 in any mixture, or all float64; states and sums are kept in
    float32, or float64. Differentiable once by every floating tensor, through y and the final state.
    `torch.func`'s `grad`, `vjp`, `jacrev` and `vmap` use the kernels; `jvp`, `jacfwd`, derivatives of
    derivatives and an export to ONNX use the slower `mambacl.ops.reference`.
    Scanning a sequence at once or in pieces, each from the last one's final state, gives the same bits.

    Args:
        u: Input, (batch, length, d_inner).
        delta: Step size, (batch, length, d_inner).
        A: State matrix, diagonal and negative, (d_inner, d_state).
        B: What a step writes, (batch, length, d_state).
        C: What a step reads, (batch, length, d_state).
        D: Skip connection, (d_inner); none when absent.
        z: Gate, (batch, length, d_inner); none when absent.
        delta_bias: Added to `delta`, (d_inner); none when absent.
        delta_softplus: Whether `delta` passes through softplus, after the bias.
        initial_state: State before the first step, (groups, d_inner, d_state) where batch = groups x g and
            sequence i continues state i // g; zeros when absent.
        return_final_state: Whether to return the state after the last step too.
        lengths: Real length of each sequence, (batch) int64, each in [0, length]. What lies beyond is never
            read, y is zero there, and the final state is that of the last real step. On a GPU,
            which would have to be waited for, lengths out of range are clamped.

    Returns:
        y, (batch, length, d_inner), of the dtype of `u`; with `return_final_state` the pair of y and the
        final state, (batch, d_inner, d_state) float32 or float64.

    Raises:
        TypeError: If an argument is no tensor, or a flag no bool.
        ShapeError: If an argument's shape does not fit.
        DtypeError: If an argument's dtype does not fit.
        DeviceError: If tensors lie on different devices, or on one without a kernel.
        InvalidValueError: If a length on the CPU is out of range.

    Examples:
        A state that forgets nothing sums its inputs:

        >>> import torch
        >>> from mambacl.ops import selective_scan
        >>> u = torch.tensor([[[1.0], [2.0], [3.0]]])
        >>> one, A = torch.ones(1, 3, 1), torch.zeros(1, 1)
        >>> y, state = selective_scan(u, one, A, one, one, return_final_state=True)
        >>> y.flatten().tolist(), state.item()
        ([1.0, 3.0, 6.0], 6.0)
    """
    tensors = (u, delta, A, B, C, D, z, delta_bias, initial_state, lengths)
    check_types("selective_scan", reference.SCAN_TENSORS, tensors, required=5)
    check_flags("selective_scan", delta_softplus=delta_softplus, return_final_state=return_final_state)
    compiling = torch.compiler.is_compiling()
    way = transforms.way(compiling)
    if way == "reference":
        return reference.selective_scan(
            u, delta, A, B, C, D, z, delta_bias, delta_softplus, initial_state, return_final_state, lengths
        )
    if not compiling:
        check_devices("selective_scan", reference.SCAN_TENSORS, tensors, _DEVICES)
        _core.check_selective_scan(tensors)
        check_lengths("selective_scan", lengths, u.shape[1])
    if way == "transformed":
        y, final_state = transforms.apply("selective_scan", delta_softplus, return_final_state, *tensors)
    else:
        y, final_state = torch.ops.mambacl.selective_scan(
            u, delta, A, B, C, D, z, delta_bias, delta_softplus, initial_state, return_final_state, lengths
        )
    return (y, final_state) if return_final_state else y
