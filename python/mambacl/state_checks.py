"""Checks of what states are put together from: indices of streams, and tensors with a row for each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mambacl.errors import DeviceError, DtypeError, InvalidValueError, ShapeError


def stream_indices(op: str, indices: Tensor | Sequence[int], streams: int) -> Tensor:
    """Indices of streams, (n,) int64 on the CPU.

    Args:
        op: The operation, for the message.
        indices: As they were given.
        streams: How many there are.

    Raises:
        TypeError: If they are no numbers.
        ShapeError: If there is none, or they are not in one row.
        DtypeError: If they are no integers.
        InvalidValueError: If one names no stream.
    """
    try:
        where = torch.as_tensor(indices, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        got = type(indices).__name__
        raise TypeError(f"{op}: argument `indices` must be integers, got {got}") from None
    if where.dim() != 1 or where.numel() == 0:
        raise ShapeError(f"{op}: argument `indices` must have shape (n >= 1,), got {tuple(where.shape)}")
    if where.dtype.is_floating_point or where.dtype.is_complex or where.dtype == torch.bool:
        raise DtypeError(f"{op}: argument `indices` must be integers, got {where.dtype}")
    if where.dtype in (torch.uint16, torch.uint32, torch.uint64):  # torch has no bounds of these
        where = torch.from_numpy(where.numpy().astype("uint64").clip(max=2**63 - 1).astype("int64"))
    low, high = (int(bound) for bound in where.aminmax())
    if low < 0 or high >= streams:
        raise InvalidValueError(
            f"{op}: argument `indices` must be in [0, {streams}), the streams, got {low} to {high}"
        )
    return where.long()


def check_rows(op: str, name: str, ones: Sequence[Tensor], others: Sequence[Tensor]) -> None:
    """Checks that rows of tensors may stand among those of others, one by one.

    Args:
        op: The operation, for the message.
        name: The argument that holds the others.
        ones: (batch, ...) each.
        others: As many.

    Raises:
        ShapeError, DtypeError, DeviceError: For the first of the others that does not fit.
    """
    for tensor, beside in zip(ones, others, strict=True):
        if tensor.shape[1:] != beside.shape[1:]:
            raise ShapeError(
                f"{op}: argument `{name}` must hold tensors of shape (batch, *{tuple(tensor.shape[1:])}), "
                f"got {tuple(beside.shape)}"
            )
        if tensor.dtype != beside.dtype:
            raise DtypeError(f"{op}: argument `{name}` must hold {tensor.dtype}, got {beside.dtype}")
        if tensor.device != beside.device:
            raise DeviceError(f"{op}: argument `{name}` must be on {tensor.device}, got {beside.device}")
