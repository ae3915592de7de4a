"""The causal depthwise convolution in front of a selective scan."""

from __future__ import annotations

from typing import Literal, overload

import torch
from torch import Tensor

from mambacl import _core
from mambacl.ops import reference, transforms
from mambacl.ops.checks import check_activation, check_devices, check_flags, check_lengths, check_types

# The fake kernel answers for "meta".
_DEVICES = ("cpu", "cuda", "meta")


@overload
def causal_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    initial_window: Tensor | None = None,
    return_final_window: Literal[False] = False,
    lengths: Tensor | None = None,
) -> Tensor: ...


@overload
def causal_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    initial_window: Tensor | None = None,
    *,
    return_final_window: Literal[True],
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor]: ...


@overload
def causal_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    initial_window: Tensor | None = None,
    return_final_window: bool = False,
    lengths: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]: ...


def causal_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    initial_window: Tensor | None = None,
    return_final_window: bool = False,
    lengths: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Convolves each channel with taps of its own over the present and the d_conv - 1 steps before.

        y_t = activation(bias + sum over k of weight_k x_{t - d_conv + 1 + k})

    where x before the first step is the initial window: the convolution of a Mamba block
    (arXiv:2312.00752, section 3.4). Dtypes as for `selective_scan`. Differentiable once by every floating
    tensor, through y and the final window. Under `torch.func` and in an export to ONNX as `selective_scan`.

    Args:
        x: Input, (batch, length, d_inner).
        weight: Taps, the last one for the present step, (d_inner, d_conv).
        bias: (d_inner); none when absent.
        activation: "silu", or "swish" for the same; None for none.
        initial_window: Inputs before the first step, oldest first, (groups, d_inner, d_conv - 1) where
            batch = groups x g and sequence i continues window i // g; zeros when absent.
        return_final_window: Whether to return the last d_conv - 1 inputs of each sequence too.
        lengths: Real length of each sequence, (batch) int64, each in [0, length]. What lies beyond is never
            read, y is zero there, and the final window ends with the last real step. On a GPU,
            which would have to be waited for, lengths out of range are clamped.

    Returns:
        y, (batch, length, d_inner), of the dtype of `x`; with `return_final_window` the pair of y and the
        final window, (batch, d_inner, d_conv - 1) float32 or float64.

    Raises:
        TypeError: If an argument is no tensor, or a flag no bool.
        ShapeError: If an argument's shape does not fit.
        DtypeError: If an argument's dtype does not fit.
        DeviceError: If tensors lie on different devices, or on one without a kernel.
        InvalidValueError: If a length on the CPU is out of range, or the activation unknown.

    Examples:
        >>> import torch
        >>> from mambacl.ops import causal_conv1d
        >>> x, weight = torch.tensor([[[1.0], [2.0], [3.0]]]), torch.tensor([[10.0, 1.0]])
        >>> y, window = causal_conv1d(x, weight, return_final_window=True)
        >>> y.flatten().tolist(), window.flatten().tolist()
        ([1.0, 12.0, 23.0], [3.0])
    """
    tensors = (x, weight, bias, initial_window, lengths)
    check_types("causal_conv1d", reference.CONV_TENSORS, tensors, required=2)
    check_flags("causal_conv1d", return_final_window=return_final_window)
    silu = check_activation("causal_conv1d", activation)
    compiling = torch.compiler.is_compiling()
    way = transforms.way(compiling)
    if way == "reference":
        return reference.causal_conv1d(
            x, weight, bias, activation, initial_window, return_final_window, lengths
        )
    if not compiling:
        check_devices("causal_conv1d", reference.CONV_TENSORS, tensors, _DEVICES)
        _core.check_causal_conv1d(tensors, None)
        check_lengths("causal_conv1d", lengths, x.shape[1])
    if way == "transformed":
        y, final_window = transforms.apply("causal_conv1d", silu, return_final_window, *tensors)
    else:
        y, final_window = torch.ops.mambacl.causal_conv1d(
            x, weight, bias, silu, initial_window, return_final_window, lengths
        )
    return (y, final_window) if return_final_window else y
