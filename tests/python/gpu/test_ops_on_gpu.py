"""The fused operations on a GPU: right against the float64 reference on the CPU, on fresh inputs."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from gpu_here import GPU, needs_gpu, needs_two_gpus, on_cpu, on_gpu
from mambacl.ops import causal_conv1d, reference, selective_scan
from op_arguments import (
    CONV_OPTIONS,
    SCAN_OPTIONS,
    assert_near,
    conv_arguments,
    padding,
    scan_arguments,
    widened,
    with_gradients,
)
from small_learners import assert_same

pytestmark = [needs_gpu, pytest.mark.usefixtures("nan_in_fresh_memory")]

SEED = int(os.environ.get("MAMBACL_GPU_SEED", "0"))
"""`make gpu-check` gives another each time: inputs are fresh."""

SCAN = partial(selective_scan, delta_softplus=True, return_final_state=True)
CONV = partial(causal_conv1d, activation="silu", return_final_window=True)
SLOW_SCAN = partial(reference.selective_scan, delta_softplus=True, return_final_state=True)
SLOW_CONV = partial(reference.causal_conv1d, activation="silu", return_final_window=True)
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12, torch.bfloat16: 3e-2, torch.float16: 4e-3}
EVERY_DTYPE = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)

Op = Callable[..., Any]


def of_gpu(op: Op, arguments: dict[str, Tensor], device: torch.device = GPU) -> dict[str, Tensor]:
    """Results and gradients of an operation on a GPU, weighed by the numbers that the CPU's are."""

    def moved(**given: Tensor) -> tuple[Tensor, Tensor]:
        y, state = op(**on_gpu(given, device))
        return y.cpu(), state.cpu()

    return on_cpu(with_gradients(moved, arguments))


@EVERY_DTYPE
@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 200, 521])
def test_scans_of_every_length_and_type(length: int, dtype: torch.dtype):
    arguments = scan_arguments(length, 37, 16, dtype=dtype, options=SCAN_OPTIONS, seed=SEED + length)
    want = with_gradients(SLOW_SCAN, widened(arguments))
    assert_near(of_gpu(SCAN, arguments), want, TOLERANCE[dtype])


@EVERY_DTYPE
@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 200, 521])
def test_convolutions_of_every_length_and_type(length: int, dtype: torch.dtype):
    arguments = conv_arguments(length, 37, 4, dtype=dtype, options=CONV_OPTIONS, seed=SEED + length)
    want = with_gradients(SLOW_CONV, widened(arguments))
    assert_near(of_gpu(CONV, arguments), want, TOLERANCE[dtype])


@pytest.mark.parametrize("d_state", [1, 2, 3, 5, 8, 16, 29, 64])
def test_scans_of_every_state(d_state: int):
    arguments = scan_arguments(70, 33, d_state, seed=SEED)
    assert_near(of_gpu(SCAN, arguments), with_gradients(SLOW_SCAN, widened(arguments)), 2e-5)


@pytest.mark.parametrize("d_inner", [1, 31, 32, 33, 128, 300, 1024])
@pytest.mark.parametrize("groups", [1, 3])
def test_channels_and_shared_states(d_inner: int, groups: int):
    for op, slow, arguments in (
        (SCAN, SLOW_SCAN, scan_arguments(9, d_inner, 16, groups, 5, seed=SEED)),
        (CONV, SLOW_CONV, conv_arguments(9, d_inner, 4, groups, 5, seed=SEED)),
    ):
        assert_near(of_gpu(op, arguments), with_gradients(slow, widened(arguments)), 2e-5)


@pytest.mark.parametrize("softplus", [False, True])
@pytest.mark.parametrize(
    "options", [c for n in range(6) for c in itertools.combinations(SCAN_OPTIONS, n)], ids="-".join
)
def test_scans_with_any_options(options: tuple[str, ...], softplus: bool):
    arguments = scan_arguments(6, 9, 3, options=options, dtype=torch.float64, seed=SEED)
    if not softplus:
        arguments["delta"] = arguments["delta"].abs()
    fused = partial(selective_scan, delta_softplus=softplus, return_final_state=True)
    slow = partial(reference.selective_scan, delta_softplus=softplus, return_final_state=True)
    assert_near(of_gpu(fused, arguments), with_gradients(slow, arguments), 1e-12)


@pytest.mark.parametrize("d_conv", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("activation", [None, "silu"])
@pytest.mark.parametrize(
    "options", [c for n in range(4) for c in itertools.combinations(CONV_OPTIONS, n)], ids="-".join
)
def test_convolutions_with_any_options(options: tuple[str, ...], activation: str | None, d_conv: int):
    arguments = conv_arguments(6, 9, d_conv, options=options, dtype=torch.float64, seed=SEED)
    fused = partial(causal_conv1d, activation=activation, return_final_window=True)
    slow = partial(reference.causal_conv1d, activation=activation, return_final_window=True)
    assert_near(of_gpu(fused, arguments), with_gradients(slow, arguments), 1e-12)


def test_types_may_differ():
    arguments = scan_arguments(20, 33, 16, seed=SEED)
    for name, dtype in (("u", torch.bfloat16), ("delta", torch.float32), ("B", torch.bfloat16)):
        arguments[name] = arguments[name].to(dtype)
    arguments["z"] = arguments["z"].half()
    assert_near(of_gpu(SCAN, arguments), with_gradients(SLOW_SCAN, widened(arguments)), 3e-2)


def test_padding_is_never_read():
    for op, arguments in (
        (SCAN, scan_arguments(40, 33, 16, options=SCAN_OPTIONS, seed=SEED)),
        (CONV, conv_arguments(40, 33, options=CONV_OPTIONS, seed=SEED)),
    ):
        assert_same(of_gpu(op, padding(arguments, torch.nan)), of_gpu(op, padding(arguments, 0.0)))


def test_layouts_that_are_not_contiguous():
    arguments = scan_arguments(30, 33, 16, seed=SEED)
    strided = {
        name: t.transpose(-1, -2).contiguous().transpose(-1, -2) if t.dim() == 3 else t
        for name, t in arguments.items()
    }
    assert_near(of_gpu(SCAN, strided), of_gpu(SCAN, arguments), 1e-6)


def test_the_same_bits_again():
    """Sums have a fixed order: nothing is added by atomics."""
    for op, arguments in (
        (SCAN, scan_arguments(200, 300, 16, 8, 4, options=SCAN_OPTIONS, seed=SEED)),
        (CONV, conv_arguments(200, 300, 4, 8, 4, options=CONV_OPTIONS, seed=SEED)),
    ):
        once = of_gpu(op, arguments)
        for _ in range(3):
            assert_same(of_gpu(op, arguments), once)


def test_in_pieces_as_at_once():
    arguments = on_gpu(scan_arguments(130, 33, 16, groups=6, per_group=1, seed=SEED))
    y, state = SCAN(**arguments)
    first, rest = (
        {name: t[:, where] if name in ("u", "delta", "B", "C", "z") else t for name, t in arguments.items()}
        for where in (slice(0, 65), slice(65, None))
    )
    y_first, between = SCAN(**first)
    y_rest, last = SCAN(**{**rest, "initial_state": between})
    assert torch.equal(torch.cat([y_first, y_rest], 1), y)
    assert torch.equal(last, state)


def test_runs_on_the_current_stream():
    arguments = on_gpu(scan_arguments(200, 300, 16, seed=SEED))
    want = SCAN(**arguments)[0]
    aside = torch.cuda.Stream()
    with torch.cuda.stream(aside):
        late = {name: tensor.clone() for name, tensor in arguments.items()}
        torch.cuda._sleep(100_000_000)  # what is launched on another stream would not wait for this
        late["u"].mul_(2.0)
        got = SCAN(**late)[0]
    aside.synchronize()
    assert torch.equal(got, SCAN(**{**arguments, "u": 2.0 * arguments["u"]})[0])
    assert not torch.equal(got, want)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_waits_for_nothing():
    leaves = {n: t.requires_grad_() for n, t in on_gpu(scan_arguments(50, 64, 16, seed=SEED)).items()}
    SCAN(**leaves)[0].sum().backward()
    torch.cuda.synchronize()
    try:
        torch.cuda.set_sync_debug_mode("error")
        SCAN(**leaves)[0].sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_empty_batches():
    arguments = on_gpu(scan_arguments(5, 7, 3, options=(), seed=SEED))
    none = {name: t[:0] if name != "A" else t for name, t in arguments.items()}
    y, state = SCAN(**none)
    assert y.shape == (0, 5, 7)
    assert state.shape == (0, 7, 3)


@needs_two_gpus
def test_on_a_second_gpu_while_the_first_is_current():
    arguments = scan_arguments(64, 33, 16, options=SCAN_OPTIONS, seed=SEED)
    assert torch.cuda.current_device() == 0
    got = of_gpu(SCAN, arguments, torch.device("cuda", 1))
    assert torch.cuda.current_device() == 0
    assert_same(got, of_gpu(SCAN, arguments))
