"""Checks of an operation's arguments that the engine cannot make: types, flags, torch's devices, lengths."""

from __future__ import annotations

import torch
from torch import Tensor

from mambacl import _core
from mambacl.errors import DeviceError, InvalidValueError


def check_types(op: str, names: tuple[str, ...], arguments: tuple[object, ...], required: int) -> None:
    """Checks that arguments are dense tensors, the optional ones tensors or None; reads no numbers of them.

    Args:
        op: The operation, for the message.
        names: The arguments' names.
        arguments: The arguments.
        required: So many of the first ones must be there.

    Raises:
        TypeError: For the first argument that is no tensor.
        InvalidValueError: For the first that is nested, sparse, quantized or in another layout of its own.
    """
    for index, argument in enumerate(arguments):
        if argument is None and index >= required:
            continue
        if not isinstance(argument, Tensor):
            expected = "a torch.Tensor" if index < required else "a torch.Tensor or None"
            got = type(argument).__name__
            raise TypeError(f"{op}: argument `{names[index]}` must be {expected}, got {got}")
        if argument.layout is torch.strided and not argument.is_nested and not argument.is_quantized:
            continue
        form = "nested" if argument.is_nested else str(argument.layout)
        form = "quantized" if argument.is_quantized else form
        raise InvalidValueError(
            f"{op}: argument `{names[index]}` must be a dense tensor, got {type(argument).__name__}, which "
            f"is {form}"
        )


def check_flags(op: str, **flags: object) -> None:
    """Checks that flags are bools, which torch's operators take for granted.

    Args:
        op: The operation, for the message.
        **flags: The flags by name.

    Raises:
        TypeError: For the first flag that is no bool.
    """
    for name, flag in flags.items():
        if flag is not True and flag is not False:
            raise TypeError(f"{op}: argument `{name}` must be a bool, got {type(flag).__name__}")


def check_activation(op: str, activation: object) -> bool:
    """Checks the name of an activation.

    Args:
        op: The operation, for the message.
        activation: "silu", or "swish", which is another name of it; None for none.

    Returns:
        Whether there is a SiLU.

    Raises:
        InvalidValueError: If it is anything else.
    """
    if activation is None:
        return False
    if isinstance(activation, str) and activation in ("silu", "swish"):
        return True
    raise InvalidValueError(
        f'{op}: argument `activation` must be None, "silu" or "swish", got {activation!r}'
    )


def check_devices(
    op: str, names: tuple[str, ...], arguments: tuple[Tensor | None, ...], supported: tuple[str, ...] | None
) -> None:
    """Checks that all tensors lie on the first one's device, and that the operation runs there.

    Args:
        op: The operation, for the message.
        names: The arguments' names, the leading one's first.
        arguments: The arguments.
        supported: The types of device with a kernel; None when any will do.

    Raises:
        DeviceError: For the first tensor that does not fit.
    """
    leading = arguments[0]
    assert leading is not None
    device = leading.device
    if supported is not None and device.type not in supported:
        raise DeviceError(
            f"{op}: argument `{names[0]}` must be on a device with a kernel ({', '.join(supported)}), "
            f"got {device}; mambacl.ops.reference.{op} runs anywhere"
        )
    for name, tensor in zip(names, arguments, strict=True):
        if tensor is not None and tensor.device != device:
            raise DeviceError(
                f"{op}: argument `{name}` must be on device {device}, as `{names[0]}`, got {tensor.device}"
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
    if lengths is None or lengths.device.type != "cpu":
        return
    numbers = _unwrapped(lengths)
    if not _core.has_numbers(numbers) or numbers.numel() == 0:
        return
    low, high = (int(bound) for bound in torch.aminmax(numbers))
    if low < 0 or high > length:
        raise InvalidValueError(
            f"{op}: argument `lengths` must be between 0 and the sequence length {length}, "
            f"got values from {low} to {high}"
        )


def _unwrapped(tensor: Tensor) -> Tensor:
    """The numbers below the wrappers of torch.func's transforms; those of all slices of a vmap."""
    functorch = torch._C._functorch  # pyright: ignore
    while functorch.is_functorch_wrapped_tensor(tensor):
        tensor = functorch.get_unwrapped(tensor)
    return tensor
