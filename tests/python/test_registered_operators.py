"""The operators of `torch.ops.mambacl` called directly: each checks all of its arguments itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from mambacl.errors import ShapeError
from mambacl.ops import causal_conv1d, selective_scan

BATCH, LENGTH, INNER, STATE, CONV = 4, 5, 6, 3, 3


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def scan_arguments() -> dict[str, Any]:
    return {
        "u": normal(BATCH, LENGTH, INNER),
        "delta": normal(BATCH, LENGTH, INNER).abs(),
        "A": -normal(INNER, STATE).abs(),
        "B": normal(BATCH, LENGTH, STATE),
        "C": normal(BATCH, LENGTH, STATE),
        "D": normal(INNER),
        "z": normal(BATCH, LENGTH, INNER),
        "delta_bias": normal(INNER),
        "delta_softplus": True,
        "initial_state": normal(BATCH, INNER, STATE),
        "lengths": torch.tensor([5, 0, 2, 4]),
    }


def conv_arguments() -> dict[str, Any]:
    return {
        "x": normal(BATCH, LENGTH, INNER),
        "weight": normal(INNER, CONV),
        "bias": normal(INNER),
        "silu": True,
        "initial_window": normal(BATCH, INNER, CONV - 1),
        "lengths": torch.tensor([5, 0, 2, 4]),
    }


ARGUMENTS = {
    "selective_scan": {**scan_arguments(), "return_final_state": True},
    "selective_scan_backward": {
        "dy": normal(BATCH, LENGTH, INNER),
        "dfinal_state": normal(BATCH, INNER, STATE),
        **scan_arguments(),
    },
    "causal_conv1d": {**conv_arguments(), "return_final_window": True},
    "causal_conv1d_backward": {
        "dy": normal(BATCH, LENGTH, INNER),
        "dfinal_window": normal(BATCH, INNER, CONV - 1),
        **conv_arguments(),
    },
}
EVERY_ARGUMENT = [
    pytest.param(op, name, id=f"{op}-{name}")
    for op, arguments in ARGUMENTS.items()
    for name, argument in arguments.items()
    if isinstance(argument, Tensor)
]
every_argument = pytest.mark.parametrize(("op", "name"), EVERY_ARGUMENT)


def call(op: str, device: str = "cpu", **changes: Any) -> Any:
    arguments = {**ARGUMENTS[op], **changes}
    there = {n: a.to(device) if isinstance(a, Tensor) else a for n, a in arguments.items()}
    return getattr(torch.ops.mambacl, op)(**there)


def other_shapes(tensor: Tensor) -> Iterator[Tensor]:
    """Tensors that differ in one axis, or in the number of axes."""
    for axis, size in enumerate(tensor.shape):
        for other in {0, 1, size - 1, size + 1, 1000} - {size}:
            shape = list(tensor.shape)
            shape[axis] = other
            yield tensor.new_zeros(shape)
    yield tensor.new_zeros(())
    yield tensor.new_zeros(tensor.shape[1:])
    yield tensor.new_zeros((1, *tensor.shape))


def is_sound(op: str, name: str, tensor: Tensor) -> bool:
    """A convolution may be of any length; states may be fewer than sequences, and divide them evenly."""
    if op == "causal_conv1d" and name == "x":
        return tensor.dim() == 3 and (tensor.shape[0], tensor.shape[2]) == (BATCH, INNER)
    if name not in ("initial_state", "initial_window") or tensor.dim() != 3:
        return False
    groups, *rest = tensor.shape
    return groups > 0 and BATCH % groups == 0 and rest in ([INNER, STATE], [INNER, CONV - 1])


@every_argument
def test_a_wrong_shape_is_refused(op: str, name: str):
    given = ARGUMENTS[op][name]
    refused = 0
    for tensor in other_shapes(given):
        if is_sound(op, name, tensor):
            continue
        refused += 1
        with pytest.raises(RuntimeError, match=r"argument `\w+` must (have shape|be)"):
            call(op, **{name: tensor})
        with pytest.raises(ShapeError, match=r"argument `\w+` must (have shape|be)"):  # the fake kernel
            call(op, "meta", **{name: tensor})
    assert refused >= 4


@every_argument
def test_a_wrong_dtype_is_refused(op: str, name: str):
    wrong = [torch.int32, torch.bool, torch.complex64, torch.uint16, torch.float64]
    for dtype in wrong:
        with pytest.raises(RuntimeError, match=r"argument `\w+` must have dtype"):
            call(op, **{name: ARGUMENTS[op][name].to(dtype)})


@pytest.mark.filterwarnings("ignore")  # of nested tensors, which torch calls unfinished
@every_argument
def test_tensors_of_unusual_layout_or_without_memory_are_refused(op: str, name: str):
    given = ARGUMENTS[op][name]
    freed = given.clone()
    freed.untyped_storage().resize_(0)
    for tensor in (given.to_sparse(), torch.nested.nested_tensor([given, given]), freed):
        with pytest.raises((RuntimeError, ValueError, NotImplementedError)):
            call(op, **{name: tensor})


@pytest.mark.parametrize("op", ARGUMENTS)
@pytest.mark.parametrize("lengths", [[6, 0, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 2**62], [0, -(2**63), 0, 0]])
def test_lengths_out_of_range_are_refused(op: str, lengths: list[int]):
    with pytest.raises(RuntimeError, match=r"argument `lengths` must be between 0 and .* 5"):
        call(op, lengths=torch.tensor(lengths))


@pytest.mark.parametrize("op", ["selective_scan_backward", "causal_conv1d_backward"])
def test_an_absent_final_gradient_is_zero(op: str):
    name = next(name for name in ARGUMENTS[op] if name.startswith("dfinal"))
    zeros = torch.zeros_like(ARGUMENTS[op][name])
    for got, want in zip(call(op, **{name: None}), call(op, **{name: zeros}), strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=0)
    assert not torch.equal(call(op)[0], call(op, **{name: zeros})[0])


@pytest.mark.parametrize("op", ARGUMENTS)
def test_absent_options_and_shared_states_still_fit(op: str):
    optional = ("D", "z", "delta_bias", "bias", "initial_state", "initial_window", "lengths")
    absent = {name: None for name in optional if name in ARGUMENTS[op]}
    state = "initial_state" if "initial_state" in absent else "initial_window"
    shared = {state: ARGUMENTS[op][state][:2]}
    for changes in (absent, shared):
        real, fake = call(op, **changes), call(op, "meta", **changes)
        assert [result.shape for result in real] == [result.shape for result in fake]


def test_a_batch_of_none_continues_from_its_own_states():
    u, A, B = torch.zeros(0, LENGTH, INNER), -torch.ones(INNER, STATE), torch.zeros(0, LENGTH, STATE)
    y, state = selective_scan(u, u, A, B, B, return_final_state=True)
    again, after = selective_scan(u, u, A, B, B, initial_state=state, return_final_state=True)
    assert y.shape == again.shape == (0, LENGTH, INNER)
    assert state.shape == after.shape == (0, INNER, STATE)
    weight = torch.ones(INNER, CONV)
    _, window = causal_conv1d(u, weight, return_final_window=True)
    again, after = causal_conv1d(u, weight, initial_window=window, return_final_window=True)
    assert again.shape == (0, LENGTH, INNER)
    assert window.shape == after.shape == (0, INNER, CONV - 1)
    with pytest.raises(ShapeError, match="initial_window"):
        causal_conv1d(torch.zeros(2, LENGTH, INNER), weight, initial_window=window)
