"""Children of a layer that are more than their weights: adapters, wrappers, quantised modules, hooks.

A fused operation reads a child's weights and never calls it. Where that is not what calling it gives, the
functions here call it.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook  # pyright: ignore[reportPrivateUsage]
from torch.nn.utils import parametrize

from mambacl.errors import ConfigError, DtypeError, ShapeError
from mambacl.ops.checks import check_lengths


def is_its_weights(child: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether calling a child gives what its weights say.

    Args:
        child: The child.
        kind: The class whose forward the weights stand for.

    Returns:
        Whether the child is exactly of that class, parametrized or not, with torch's own forward, and no
        hook sees or alters a call of it.
    """
    if type(child) is not kind and not (
        parametrize.is_parametrized(child) and parametrize.type_before_parametrizations(child) is kind
    ):
        return False
    return not (
        child._forward_hooks  # pyright: ignore[reportPrivateUsage]
        or child._forward_pre_hooks  # pyright: ignore[reportPrivateUsage]
        or child._backward_hooks  # pyright: ignore[reportPrivateUsage]
        or child._backward_pre_hooks  # pyright: ignore[reportPrivateUsage]
        or "forward" in child.__dict__
        or _has_any_global_hook()
    )


def is_causal_convolution(child: nn.Module, channels: int, taps: int) -> bool:
    """Whether calling a child is a causal depthwise convolution by its weights.

    Args:
        child: The child.
        channels: Channels, each with taps of its own.
        taps: Taps of a channel.

    Returns:
        Whether the child is an `nn.Conv1d` of that form, of which `is_its_weights` holds.
    """
    if not is_its_weights(child, nn.Conv1d):
        return False
    convolution = cast("nn.Conv1d", child)
    return (
        convolution.groups == convolution.in_channels == convolution.out_channels == channels
        and convolution.kernel_size == (taps,)
        and convolution.stride == convolution.dilation == (1,)
        and convolution.padding == (taps - 1,)
        and convolution.padding_mode == "zeros"
    )


def project(name: str, child: nn.Module, x: Tensor, width: int) -> Tensor:
    """Calls a projection and checks what comes back.

    Args:
        name: The child's name, for the message.
        child: The projection.
        x: Its input, (batch, length, any).
        width: Width of its output.

    Returns:
        The output, (batch, length, width).

    Raises:
        ShapeError: If something else comes back.
    """
    y = child(x)
    if type(child) is nn.Linear:
        return y
    if not isinstance(y, Tensor) or y.dim() != 3 or y.shape[2] != width:
        raise ShapeError(
            f"Mamba: module `{name}` ({type(child).__name__}) must return a tensor of shape "
            f"(batch, length, {width}) for an input of shape {list(x.shape)}, got {_form(y)}"
        )
    return y


def convolve(
    child: nn.Module, x: Tensor, taps: int, window: Tensor | None, return_window: bool, lengths: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Calls a causal convolution on a sequence, behind the inputs before it when there are any.

    Args:
        child: Gives (batch, channels, n + taps - 1), as an `nn.Conv1d` with `padding = taps - 1` does, or the
            first n of these, for an input of (batch, channels, n); output t may depend on the inputs t - taps
            + 1 to t only.
        x: Input, (batch, length, channels).
        taps: The present input and so many minus one before it are seen.
        window: Inputs before the first, (groups, channels, taps - 1) where batch = groups x g and sequence i
            continues window i // g; zeros when absent.
        return_window: Whether to return the last taps - 1 inputs of each sequence too.
        lengths: Real length of each sequence, (batch) int64. The child sees zeros beyond, and the output is
            zero there.

    Returns:
        Output, (batch, length, channels), and the last inputs, (batch, channels, taps - 1) float32 or
        float64, or None.

    Raises:
        ConfigError: If the child is a convolution that is not causal, or sees more or fewer inputs.
        ShapeError: If it gives another shape, or the window or the lengths have another.
        DtypeError: If the window or the lengths have another dtype.
        InvalidValueError: If a length on the CPU is out of range.
    """
    if isinstance(child, nn.Conv1d) and type(child).forward is nn.Conv1d.forward:
        _check_causal(child, taps)
    batch, length, channels = x.shape
    real = None
    if lengths is not None:
        _check_lengths(lengths, batch, length)
        real = (torch.arange(length, device=x.device) < lengths[:, None]).unsqueeze(1)  # (batch, 1, length)
    inputs = x.transpose(1, 2)
    if real is not None:
        inputs = torch.where(real, inputs, 0)
    extended, before = inputs, 0
    if window is not None:
        extended, before = torch.cat([_window_of_each(window, inputs, taps), inputs], 2), taps - 1
    y = child(extended)
    whole = before + length
    fits = isinstance(y, Tensor) and y.dim() == 3 and y.shape[:2] == (batch, channels)
    if not fits or y.shape[2] not in (whole, whole + taps - 1):
        raise ShapeError(
            f"Mamba: module `conv1d` ({type(child).__name__}) must return a tensor of shape (batch, d_inner, "
            f"length + d_conv - 1) = ({batch}, {channels}, {whole + taps - 1}), or its first {whole} steps, "
            f"for an input of shape {list(extended.shape)}, got {_form(y)}"
        )
    y = y[:, :, before:whole]
    if real is not None:
        y = torch.where(real, y, 0)
    last = _last_inputs(inputs, window, taps, lengths) if return_window else None
    return y.transpose(1, 2), last


def _check_causal(child: nn.Conv1d, taps: int) -> None:
    """Checks that output t sees the inputs t - taps + 1 to t, and that there are taps - 1 more outputs."""
    reach = child.dilation[0] * (child.kernel_size[0] - 1)
    if (child.stride, child.padding, child.padding_mode, reach) == ((1,), (taps - 1,), "zeros", taps - 1):
        return
    raise ConfigError(
        f"Mamba: module `conv1d` must be causal over {taps} inputs: with stride=1, padding={taps - 1}, "
        f"padding_mode='zeros' and dilation * (kernel_size - 1) = {taps - 1}, got {child}"
    )


def _check_lengths(lengths: Tensor, batch: int, length: int) -> None:
    if lengths.shape != (batch,):
        raise ShapeError(f"Mamba: argument `lengths` must have shape ({batch},), got {list(lengths.shape)}")
    if lengths.dtype != torch.int64:
        raise DtypeError(f"Mamba: argument `lengths` must have dtype int64, got {lengths.dtype}")
    if not torch.compiler.is_compiling():
        check_lengths("Mamba", lengths, length)


def _window_of_each(window: Tensor, inputs: Tensor, taps: int) -> Tensor:
    """The window of each sequence, in the inputs' type."""
    batch, channels, _ = inputs.shape
    groups = window.shape[0] if window.dim() == 3 else 0
    fits = window.shape[1:] == (channels, taps - 1) and (batch % groups == 0 if groups else batch == 0)
    if not fits:
        raise ShapeError(
            "Mamba: argument `initial_window` must have shape (groups, d_inner, d_conv - 1) = (a divisor of "
            f"{batch}, {channels}, {taps - 1}), got {list(window.shape)}"
        )
    if not window.is_floating_point():
        raise DtypeError(f"Mamba: argument `initial_window` must be floating, got {window.dtype}")
    return window.to(inputs.dtype).repeat_interleave(batch // max(groups, 1), 0)


def _last_inputs(inputs: Tensor, window: Tensor | None, taps: int, lengths: Tensor | None) -> Tensor:
    """The last taps - 1 inputs of each sequence, those of the window among them."""
    batch, channels, length = inputs.shape
    zeros = inputs.new_zeros((batch, channels, taps - 1))
    before = zeros if window is None else _window_of_each(window, inputs, taps)
    extended = torch.cat([before, inputs], 2).to(torch.promote_types(inputs.dtype, torch.float32))
    if lengths is None:
        return extended[:, :, length:]
    places = lengths.clamp(0, length)[:, None] + torch.arange(taps - 1, device=inputs.device)
    return extended.gather(2, places[:, None].expand(-1, channels, -1))


def _form(given: object) -> str:
    return f"shape {list(given.shape)}" if isinstance(given, Tensor) else type(given).__name__
