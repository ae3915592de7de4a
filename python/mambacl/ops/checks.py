"""Checks of an operation's arguments that the engine cannot make: types, torch's devices, lengths."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mambacl import _core
from mambacl.errors import DeviceError, InvalidValueError


def check_types(op: str, required: Mapping[str, object], optional: Mapping[str, object]) -> None:
    """Checks that arguments are dense tensors, the optional ones tensors or None; reads no numbers of them.

    Args:
        op: The operation, for the message.
        required: Arguments that must be there, by name.
        optional: Arguments that may be None, by name.

    Raises:
        TypeError: For the first argument that is no tensor.
        InvalidValueError: For the first that is nested, sparse, quantized or in another layout of its own.
    """
    for name, argument in required.items():
        if not isinstance(argument, Tensor):
            raise TypeError(f"{op}: argument `{name}` must be a torch.Tensor, got {type(argument).__name__}")
        _check_dense(op, name, argument)
    for name, argument in optional.items():
        if argument is None:
            continue
        if not isinstance(argument, Tensor):
            got = type(argument).__name__
            raise TypeError(f"{op}: argument `{name}` must be a torch.Tensor or None, got {got}")
        _check_dense(op, name, argument)


def _check_dense(op: str, name: str, tensor: Tensor) -> None:
    if tensor.layout is torch.strided and not tensor.is_nested and not tensor.is_quantized:
        return
    got = "quantized" if tensor.is_quantized else "nested" if tensor.is_nested else str(tensor.layout)
    raise InvalidValueError(
        f"{op}: argument `{name}` must be a dense tensor, got {type(tensor).__name__}, which is {got}"
    )


def check_devices(op: str, arguments: Mapping[str, Tensor | None], supported: tuple[str, ...] | None) -> None:
    """Checks that all tensors lie on the first one's device, and that the operation runs there.

    Args:
        op: The operation, for the message.
        arguments: The arguments by name, the leading one first.
        supported: The types of device with a kernel; None when any will do.

    Raises:
        DeviceError: For the first tensor that does not fit.
    """
    (leading_name, leading), *_ = arguments.items()
    assert leading is not None
    device = leading.device
    if supported is not None and device.type not in supported:
        raise DeviceError(
            f"{op}: argument `{leading_name}` must be on a device with a kernel ({', '.join(supported)}), "
            f"got {device}; mambacl.ops.reference.{op} runs anywhere"
        )
    for name, tensor in arguments.items():
        if tensor is not None and tensor.device != device:
            raise DeviceError(
                f"{op}: argument `{name}` must be on device {device}, as `{leading_name}`, "
                f"got {tensor.device}"
            )


def check_lengths(op: str, lengths: Tensor | None, length: int) -> None:
    """Checks that lengths lie in [0, length], where that needs no waiting for a device.

    Args:
        op: The operation, for the message.
        lengths: Lengths of the sequences, (batch) int64, or None.
        length: The length they are padded to.

    Raises:
        InvalidValueError: If one lies outside.
    """
    if lengths is None or not _core.has_numbers(lengths) or lengths.numel() == 0:
        return
    low, high = (int(bound) for bound in torch.aminmax(lengths))
    if low < 0 or high > length:
        raise InvalidValueError(
            f"{op}: argument `lengths` must be between 0 and the sequence length {length}, "
            f"got values from {low} to {high}"
        )
