"""Random arguments for the operations, and their results with every gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

SCAN_OPTIONS = ("D", "z", "delta_bias", "initial_state", "lengths")
CONV_OPTIONS = ("bias", "initial_window", "lengths")


def scan_arguments(
    length: int = 5,
    d_inner: int = 19,
    d_state: int = 8,
    groups: int = 3,
    per_group: int = 2,
    dtype: torch.dtype = torch.float32,
    options: tuple[str, ...] = ("D", "z", "delta_bias", "initial_state"),
    seed: int = 0,
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    batch = groups * per_group

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    arguments = {
        "u": normal(batch, length, d_inner),
        "delta": normal(batch, length, d_inner),
        "A": -torch.exp(normal(d_inner, d_state)),
        "B": normal(batch, length, d_state),
        "C": normal(batch, length, d_state),
        "D": normal(d_inner),
        "z": normal(batch, length, d_inner),
        "delta_bias": normal(d_inner),
        "initial_state": normal(groups, d_inner, d_state),
        "lengths": torch.randint(0, length + 1, (batch,), generator=generator),
    }
    return _chosen(arguments, SCAN_OPTIONS, options, dtype)


def conv_arguments(
    length: int = 5,
    d_inner: int = 19,
    d_conv: int = 4,
    groups: int = 3,
    per_group: int = 2,
    dtype: torch.dtype = torch.float32,
    options: tuple[str, ...] = ("bias", "initial_window"),
    seed: int = 0,
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    batch = groups * per_group

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    arguments = {
        "x": normal(batch, length, d_inner),
        "weight": normal(d_inner, d_conv),
        "bias": normal(d_inner),
        "initial_window": normal(groups, d_inner, d_conv - 1),
        "lengths": torch.randint(0, length + 1, (batch,), generator=generator),
    }
    return _chosen(arguments, CONV_OPTIONS, options, dtype)


def _chosen(
    arguments: dict[str, Tensor], optional: tuple[str, ...], options: tuple[str, ...], dtype: torch.dtype
) -> dict[str, Tensor]:
    return {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in arguments.items()
        if name not in optional or name in options
    }


def widened(arguments: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same numbers in float64."""
    return {name: t.double() if t.is_floating_point() else t for name, t in arguments.items()}


def padding(arguments: dict[str, Tensor], fill: float) -> dict[str, Tensor]:
    """The same sequences, with `fill` wherever `lengths` says padding."""
    lengths = arguments["lengths"]
    filled = dict(arguments)
    for name in ("u", "delta", "B", "C", "z", "x"):
        if name in arguments:
            tensor = arguments[name].clone()
            for row, length in zip(tensor, lengths, strict=True):
                row[int(length) :] = fill
            filled[name] = tensor
    return filled


def with_gradients(
    op: Callable[..., Any], arguments: dict[str, Tensor], padded_dy: float | None = None
) -> dict[str, Tensor]:
    """Results of an op that returns a pair, and the gradients of a random weighting of both.

    Args:
        op: Takes `arguments` as keywords.
        arguments: The floating ones are differentiated by.
        padded_dy: What the gradient of y holds where `lengths` says padding, if not random numbers.
    """
    leaves = {
        name: tensor.detach().requires_grad_()
        for name, tensor in arguments.items()
        if tensor.is_floating_point()
    }
    y, state = op(**{**arguments, **leaves})
    generator = torch.Generator().manual_seed(1)
    dy, dstate = (
        torch.randn(result.shape, generator=generator, dtype=torch.float64).to(result.dtype)
        for result in (y, state)
    )
    if padded_dy is not None:
        for row, length in zip(dy, arguments["lengths"], strict=True):
            row[int(length) :] = padded_dy
    weighed = [(result, weight) for result, weight in ((y, dy), (state, dstate)) if result.requires_grad]
    gradients = torch.autograd.grad(
        [result for result, _ in weighed],
        list(leaves.values()),
        [weight for _, weight in weighed],
        materialize_grads=True,
    )
    named = {f"gradient of {name}": g for name, g in zip(leaves, gradients, strict=True)}
    return {"y": y.detach(), "final state": state.detach(), **named}


def assert_near(got: dict[str, Tensor], want: dict[str, Tensor], tolerance: float) -> None:
    """Every result lies within `tolerance`, relative to the largest number of its kind."""
    assert got.keys() == want.keys()
    for name in want:
        scale = want[name].abs().max().item() if want[name].numel() else 0.0
        torch.testing.assert_close(
            got[name].double(),
            want[name].double(),
            rtol=0,
            atol=tolerance * max(scale, 1e-30),
            msg=lambda text, name=name: f"{name}: {text}",
        )
