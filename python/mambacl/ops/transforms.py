"""The operators where torch cannot pass an autograd function of C++: `torch.func`, forward mode, ONNX.

Below one level of reverse mode and any number of vmaps the kernels run, as a Python autograd function with a
vmap rule. Forward mode, derivatives of derivatives and an export to ONNX use the reference, which is made
of torch's own operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["apply", "way"]

_is_tracing = torch._C._is_tracing  # pyright: ignore
_transforms_active = torch._C._are_functorch_transforms_active  # pyright: ignore[reportPrivateUsage]

# Where an operator's leading tensors have no batch axis. After them come a state and the lengths, which do.
_SHARED = {"selective_scan": (2, 5, 7), "causal_conv1d": (1, 2)}


def way(compiling: bool) -> Literal["operator", "transformed", "reference"]:
    """How an operation must run here: by its operator, by `apply`, or by the reference.

    Args:
        compiling: Whether torch compiles or exports.
    """
    if compiling:
        exporting = torch.compiler.is_exporting() and torch.onnx.is_in_onnx_export()
        return "reference" if exporting else "operator"
    if forward_ad._current_level >= 0:  # pyright: ignore[reportPrivateUsage]
        return "reference"
    if _transforms_active():
        return _way_through_transforms()
    if _is_tracing() and torch.onnx.is_in_onnx_export():
        return "reference"
    return "operator"


def _way_through_transforms() -> Literal["transformed", "reference"]:
    functorch = torch._C._functorch  # pyright: ignore
    kinds = [interpreter.key() for interpreter in functorch.get_interpreter_stack() or ()]
    reverse = functorch.TransformType.Grad
    kernels = all(kind in (reverse, functorch.TransformType.Vmap) for kind in kinds)
    return "transformed" if kernels and kinds.count(reverse) <= 1 else "reference"


def apply(op: str, option: bool, return_final: bool, *tensors: Tensor | None) -> tuple[Tensor, Tensor]:
    """Runs an operator's kernels under vmap and one level of reverse mode.

    Args:
        op: The operator's name.
        option: `delta_softplus` of the scan, whether there is a SiLU in the convolution.
        return_final: Whether to return the last state too.
        *tensors: The operator's tensors in its order.

    Returns:
        What the operator returns.
    """
    return _Forward.apply(op, option, return_final, *tensors)


class _Forward(torch.autograd.Function):
    @staticmethod
    def forward(op: str, option: bool, return_final: bool, *tensors: Tensor | None) -> tuple[Tensor, Tensor]:
        *leading, state, lengths = tensors
        return getattr(torch.ops.mambacl, op)(*leading, option, state, return_final, lengths)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.op, ctx.option, ctx.return_final, *tensors = inputs
        ctx.save_for_backward(*tensors)
        if not ctx.return_final:
            ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx: Any, dy: Tensor, dfinal: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        needed = ctx.needs_input_grad[3:]
        dfinal_or_none = dfinal if ctx.return_final else None
        gradients = _Backward.apply(ctx.op, ctx.option, needed[:-1], dy, dfinal_or_none, *ctx.saved_tensors)
        wanted = [gradient if need else None for gradient, need in zip(gradients, needed[:-1], strict=True)]
        return None, None, None, *wanted, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[tuple[Tensor, ...], tuple[Any, ...]]:
        op, option, return_final, *tensors = inputs
        dims = in_dims[3:]
        if info.batch_size == 0 or any(dims[i] is not None for i in _SHARED[op]):
            return _looped(_Forward, info.batch_size, dims, (op, option, return_final), tensors)
        folded = _folded(op, info.batch_size, dims, tensors)
        y, final = _Forward.apply(op, option, return_final, *folded)
        if not return_final:
            return (_unfolded(y, info.batch_size), final), (0, None)
        return (_unfolded(y, info.batch_size), _unfolded(final, info.batch_size)), (0, 0)


class _Backward(torch.autograd.Function):
    """The gradients by an operator's leading tensors and its state; empty where none is needed."""

    @staticmethod
    def forward(
        op: str,
        option: bool,
        needed: tuple[bool, ...],
        dy: Tensor,
        dfinal: Tensor | None,
        *tensors: Tensor | None,
    ) -> tuple[Tensor, ...]:
        *leading, state, lengths = tensors
        backward = getattr(torch.ops.mambacl, f"{op}_backward")
        gradients = backward(dy, dfinal, *leading, option, state, lengths)
        return tuple(g if need else dy.new_empty(0) for g, need in zip(gradients, needed, strict=True))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.op = inputs[0]

    @staticmethod
    def backward(ctx: Any, *_gradients: Tensor) -> Any:
        raise NotImplementedError(
            f"mambacl::{ctx.op} can be differentiated once only; mambacl.ops.reference.{ctx.op} computes the "
            "same and can be differentiated any number of times"
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[tuple[Tensor, ...], tuple[Any, ...]]:
        op, option, needed, *tensors = inputs
        dims, shared = in_dims[3:], _SHARED[op]
        # Over a folded axis the kernel would sum the gradients by what its sequences share.
        if info.batch_size == 0 or any(needed[i] or dims[2 + i] is not None for i in shared):
            return _looped(_Backward, info.batch_size, dims, (op, option, needed), tensors)
        folded = _folded(op, info.batch_size, dims, tensors, before=2)
        gradients = _Backward.apply(op, option, needed, *folded)
        unfolded = [
            _unfolded(g, info.batch_size) if need else g for g, need in zip(gradients, needed, strict=True)
        ]
        return tuple(unfolded), tuple(0 if need else None for need in needed)


def _folded(
    op: str, size: int, dims: Sequence[int | None], tensors: Sequence[Tensor | None], before: int = 0
) -> list[Tensor | None]:
    """Tensors with the vmapped axis in the batch axis, but for those the sequences share.

    States fold as sequences do: of `groups` states for `groups x g` sequences, sequence i goes on from state
    i // g, and so do `size` times as many.
    """
    shared = [before + i for i in _SHARED[op]]
    return [
        tensor if tensor is None or i in shared else _in_front(tensor, dim, size).flatten(0, 1)
        for i, (tensor, dim) in enumerate(zip(tensors, dims, strict=True))
    ]


def _in_front(tensor: Tensor, dim: int | None, size: int) -> Tensor:
    return tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)


def _unfolded(tensor: Tensor, size: int) -> Tensor:
    return tensor.unflatten(0, (size, tensor.shape[0] // size))


def _looped(
    function: Any,
    size: int,
    dims: Sequence[int | None],
    settings: tuple[Any, ...],
    tensors: Sequence[Tensor | None],
) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    """Each slice of a vmapped axis by itself."""
    pairs = list(zip(tensors, dims, strict=True))

    def run(choose: Callable[[Tensor, int], Tensor]) -> tuple[Tensor, ...]:
        chosen = [tensor if tensor is None or dim is None else choose(tensor, dim) for tensor, dim in pairs]
        return function.apply(*settings, *chosen)

    if size == 0:
        # Zeros in the form of a slice, for the form of the results.
        results = run(lambda tensor, dim: torch.zeros_like(tensor.sum(dim)))
        stacked = tuple(result.new_empty((0, *result.shape)) for result in results)
    else:
        each = [run(lambda tensor, dim, i=i: tensor.select(dim, i)) for i in range(size)]
        stacked = tuple(torch.stack(column) for column in zip(*each, strict=True))
    return stacked, (0,) * len(stacked)
