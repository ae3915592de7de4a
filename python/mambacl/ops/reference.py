"""The operations as their equations read, in plain tensor operations: what the kernels are tested against.

Slow, on any device that holds numbers, and differentiable any number of times. Not for `torch.compile`.
"""

from __future__ import annotations

from torch import Tensor

from mambacl import _core
from mambacl.errors import DeviceError
from mambacl.ops.checks import check_activation, check_devices, check_flags, check_lengths, check_types

__all__ = ["causal_conv1d", "selective_scan"]

# The tensors of each operation, in the order of its operator.
SCAN_TENSORS = ("u", "delta", "A", "B", "C", "D", "z", "delta_bias", "initial_state", "lengths")
CONV_TENSORS = ("x", "weight", "bias", "initial_window", "lengths")


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
    """As `mambacl.ops.selective_scan`, by a loop over time.

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
        initial_state: State before the first step, (groups, d_inner, d_state); zeros when absent.
        return_final_state: Whether to return the state after the last step too.
        lengths: Real length of each sequence, (batch) int64.

    Returns:
        y, or the pair of y and the final state, as `mambacl.ops.selective_scan`.

    Raises:
        TypeError: If an argument is no tensor, or a flag no bool.
        ShapeError: If an argument's shape does not fit.
        DtypeError: If an argument's dtype does not fit.
        DeviceError: If tensors lie on different devices, or on "meta".
        InvalidValueError: If a length is out of range.

    Examples:
        >>> import torch
        >>> from mambacl.ops import reference
        >>> one, A = torch.ones(1, 3, 1), torch.zeros(1, 1)
        >>> reference.selective_scan(one, one, A, one, one).flatten().tolist()
        [1.0, 2.0, 3.0]
    """
    tensors = (u, delta, A, B, C, D, z, delta_bias, initial_state, lengths)
    check_types("selective_scan", SCAN_TENSORS, tensors, required=5)
    _check_devices("selective_scan", SCAN_TENSORS, tensors)
    check_flags("selective_scan", delta_softplus=delta_softplus, return_final_state=return_final_state)
    _core.check_selective_scan(tensors)
    check_lengths("selective_scan", lengths, u.shape[1])
    y, final_state = _core.reference_selective_scan(tensors, delta_softplus, return_final_state)
    return (y, final_state) if return_final_state else y


def causal_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    initial_window: Tensor | None = None,
    return_final_window: bool = False,
    lengths: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """As `mambacl.ops.causal_conv1d`, by one shifted product for each tap.

    Args:
        x: Input, (batch, length, d_inner).
        weight: Taps, the last one for the present step, (d_inner, d_conv).
        bias: (d_inner); none when absent.
        activation: "silu", or "swish" for the same; None for none.
        initial_window: Inputs before the first step, (groups, d_inner, d_conv - 1); zeros when absent.
        return_final_window: Whether to return the last d_conv - 1 inputs of each sequence too.
        lengths: Real length of each sequence, (batch) int64.

    Returns:
        y, or the pair of y and the final window, as `mambacl.ops.causal_conv1d`.

    Raises:
        TypeError: If an argument is no tensor, or a flag no bool.
        ShapeError: If an argument's shape does not fit.
        DtypeError: If an argument's dtype does not fit.
        DeviceError: If tensors lie on different devices, or on "meta".
        InvalidValueError: If a length is out of range, or the activation unknown.

    Examples:
        >>> import torch
        >>> from mambacl.ops import reference
        >>> x, weight = torch.tensor([[[1.0], [2.0], [3.0]]]), torch.tensor([[10.0, 1.0]])
        >>> reference.causal_conv1d(x, weight).flatten().tolist()
        [1.0, 12.0, 23.0]
    """
    tensors = (x, weight, bias, initial_window, lengths)
    check_types("causal_conv1d", CONV_TENSORS, tensors, required=2)
    _check_devices("causal_conv1d", CONV_TENSORS, tensors)
    check_flags("causal_conv1d", return_final_window=return_final_window)
    silu = "silu" if check_activation("causal_conv1d", activation) else None
    _core.check_causal_conv1d(tensors, silu)
    check_lengths("causal_conv1d", lengths, x.shape[1])
    y, final_window = _core.reference_causal_conv1d(tensors, silu, return_final_window)
    return (y, final_window) if return_final_window else y


def _check_devices(op: str, names: tuple[str, ...], arguments: tuple[Tensor | None, ...]) -> None:
    check_devices(op, names, arguments, supported=None)
    for name, tensor in zip(names, arguments, strict=True):
        if tensor is not None and tensor.is_meta:
            raise DeviceError(f"{op}: argument `{name}` must hold numbers for the reference, got device meta")
