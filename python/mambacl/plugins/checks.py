"""Checks of what users give to a learner written in Python: as the engine checks its own."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils import _python_dispatch

from mambacl import _core
from mambacl.errors import DeviceError, DtypeError, InvalidValueError, ShapeError

MOST = 2**20
"""Symbols of a vocabulary, or numbers in a vector."""


def inputs(op: str, x: Tensor, batch: int, input_shape: tuple[int, ...], like: Tensor) -> None:
    """Inputs, (batch, n >= 1, *input_shape), finite, of the dtype and device of `like`."""
    if x.dim() != 2 + len(input_shape) or x.shape[0] != batch or x.shape[2:] != input_shape or x.shape[1] < 1:
        sizes = ", ".join(map(str, input_shape))
        raise ShapeError(
            f"{op}: argument `x` must have shape (batch = {batch}, n >= 1, {sizes}), got {list(x.shape)}"
        )
    _floats(op, "x", x, like)


def vectors(op: str, y: Tensor, shape: tuple[int, ...], like: Tensor) -> None:
    """Targets, (batch, n, dim), finite, of the dtype and device of `like`."""
    if y.shape != shape:
        raise ShapeError(
            f"{op}: argument `y` must have shape (batch, n, dim) = {list(shape)}, got {list(y.shape)}"
        )
    _floats(op, "y", y, like)


def labels(op: str, y: Tensor, shape: tuple[int, ...], vocab: int, like: Tensor) -> None:
    """Labels, int64 (batch, n), each in [0, vocab), on the device of `like`."""
    integers(op, "y", y, shape, like)
    if _readable(y) and y.numel():
        low, high = (int(bound) for bound in y.aminmax())
        if low < 0 or high >= vocab:
            raise InvalidValueError(
                f"{op}: argument `y` must hold labels in [0, {vocab}), the vocabulary, got {low} to {high}"
            )


def integers(op: str, name: str, tensor: Tensor, shape: tuple[int, ...], like: Tensor) -> None:
    """int64 of a shape, on the device of `like`."""
    if tensor.shape != shape:
        raise ShapeError(f"{op}: argument `{name}` must have shape {list(shape)}, got {list(tensor.shape)}")
    if tensor.dtype != torch.int64:
        raise DtypeError(f"{op}: argument `{name}` must be int64, got {tensor.dtype}")
    _device(op, name, tensor, like)


def codebook(op: str, name: str, tensor: Tensor, vocab: int, like: Tensor) -> None:
    """int64 (batch, vocab), each row a permutation."""
    if tensor.dim() != 2 or tensor.shape[1] != vocab or len(tensor) < 1:
        raise ShapeError(
            f"{op}: argument `{name}` must have shape (batch, vocab = {vocab}), got {list(tensor.shape)}"
        )
    integers(op, name, tensor, tuple(tensor.shape), like)
    symbols = torch.arange(vocab, device=tensor.device)
    if _readable(tensor) and not bool((tensor.sort(dim=1).values == symbols).all()):
        raise InvalidValueError(
            f"{op}: argument `{name}` must be a permutation of 0..{vocab} in each row, "
            "got rows with other or repeated symbols"
        )


def _readable(tensor: Tensor) -> bool:
    """Whether the numbers of a tensor may be read: it has some on the CPU, and nothing traces the calls."""
    return _core.has_numbers(tensor) and not _python_dispatch.is_in_torch_dispatch_mode()


def _floats(op: str, name: str, tensor: Tensor, like: Tensor) -> None:
    if tensor.dtype != like.dtype:
        raise DtypeError(
            f"{op}: argument `{name}` must be {like.dtype}, as the model's parameters, got {tensor.dtype}"
        )
    _device(op, name, tensor, like)
    if _readable(tensor) and not bool(tensor.isfinite().all()):
        raise InvalidValueError(f"{op}: argument `{name}` must hold finite numbers, got NaN or infinity")


def _device(op: str, name: str, tensor: Tensor, like: Tensor) -> None:
    if tensor.device != like.device:
        raise DeviceError(
            f"{op}: argument `{name}` must be on {like.device}, as the model's parameters, "
            f"got {tensor.device}"
        )
