"""What torch expects of an operator: schema, autograd, fake kernels, compilation, and clear refusals."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from mambacl.ops import causal_conv1d, reference, selective_scan
from op_arguments import (
    CONV_OPTIONS,
    SCAN_OPTIONS,
    conv_arguments,
    scan_arguments,
    with_gradients,
)
from small_learners import assert_same

ALL_CHECKS = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic")

SCAN = partial(selective_scan, delta_softplus=True, return_final_state=True)
CONV = partial(causal_conv1d, activation="silu", return_final_window=True)
SLOW_SCAN = partial(reference.selective_scan, delta_softplus=True, return_final_state=True)
SLOW_CONV = partial(reference.causal_conv1d, activation="silu", return_final_window=True)

OPS = pytest.mark.parametrize(
    ("op", "slow", "make"),
    [(SCAN, SLOW_SCAN, scan_arguments), (CONV, SLOW_CONV, conv_arguments)],
    ids=["selective_scan", "causal_conv1d"],
)
Op = Callable[..., Any]


def scan_call(options: tuple[str, ...], dtype: torch.dtype, requires_grad: bool) -> list[Any]:
    a = _leaves(scan_arguments(5, 6, 4, dtype=dtype, options=options), requires_grad)
    optional = [a.get(name) for name in ("D", "z", "delta_bias")]
    return [a["u"], a["delta"], a["A"], a["B"], a["C"], *optional, a.get("initial_state"), a.get("lengths")]


def conv_call(options: tuple[str, ...], dtype: torch.dtype, requires_grad: bool) -> list[Any]:
    a = _leaves(conv_arguments(5, 6, 4, dtype=dtype, options=options), requires_grad)
    return [a["x"], a["weight"], a.get("bias"), a.get("initial_window"), a.get("lengths")]


def _leaves(arguments: dict[str, Tensor], requires_grad: bool) -> dict[str, Tensor]:
    return {n: t.requires_grad_(requires_grad and t.is_floating_point()) for n, t in arguments.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("full", [False, True], ids=["bare", "full"])
class TestOpcheck:
    def test_selective_scan(self, full: bool, dtype: torch.dtype):
        *tensors, state, lengths = scan_call(SCAN_OPTIONS if full else (), dtype, requires_grad=True)
        checked = torch.library.opcheck(
            torch.ops.mambacl.selective_scan.default,
            (*tensors, True, state, full, lengths),
            test_utils=ALL_CHECKS,
            **_tolerance(dtype),
        )
        assert checked == dict.fromkeys(ALL_CHECKS, "SUCCESS")

    def test_selective_scan_backward(self, full: bool, dtype: torch.dtype):
        *tensors, state, lengths = scan_call(SCAN_OPTIONS if full else (), dtype, requires_grad=False)
        u, A = tensors[0], tensors[2]
        dstate = torch.randn(6, *A.shape, dtype=dtype) if full else None
        checked = torch.library.opcheck(
            torch.ops.mambacl.selective_scan_backward.default,
            (torch.randn_like(u), dstate, *tensors, True, state, lengths),
            test_utils=ALL_CHECKS,
        )
        assert checked == dict.fromkeys(ALL_CHECKS, "SUCCESS")

    def test_causal_conv1d(self, full: bool, dtype: torch.dtype):
        *tensors, window, lengths = conv_call(CONV_OPTIONS if full else (), dtype, requires_grad=True)
        checked = torch.library.opcheck(
            torch.ops.mambacl.causal_conv1d.default,
            (*tensors, True, window, full, lengths),
            test_utils=ALL_CHECKS,
            **_tolerance(dtype),
        )
        assert checked == dict.fromkeys(ALL_CHECKS, "SUCCESS")

    def test_causal_conv1d_backward(self, full: bool, dtype: torch.dtype):
        *tensors, window, lengths = conv_call(CONV_OPTIONS if full else (), dtype, requires_grad=False)
        dwindow = torch.randn(6, 6, 3, dtype=dtype) if full else None
        checked = torch.library.opcheck(
            torch.ops.mambacl.causal_conv1d_backward.default,
            (torch.randn_like(tensors[0]), dwindow, *tensors, True, window, lengths),
            test_utils=ALL_CHECKS,
        )
        assert checked == dict.fromkeys(ALL_CHECKS, "SUCCESS")


def _tolerance(dtype: torch.dtype) -> dict[str, float]:
    return {"rtol": 2e-2, "atol": 2e-2} if dtype == torch.bfloat16 else {}


@OPS
@pytest.mark.parametrize("padded", [False, True], ids=["whole", "padded"])
def test_gradcheck(op: Op, slow: Op, make: Op, padded: bool):
    arguments = make(4, 3, 3, groups=2, dtype=torch.float64)
    names = list(arguments)
    lengths = torch.tensor([4, 0, 1, 3]) if padded else None
    leaves = tuple(arguments[name].requires_grad_() for name in names)
    assert torch.autograd.gradcheck(
        lambda *a: op(**dict(zip(names, a, strict=True)), lengths=lengths), leaves
    )


@OPS
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_compiles_to_one_graph(op: Op, slow: Op, make: Op, dynamic: bool):
    torch.compiler.reset()
    compiled = torch.compile(op, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for length in (5, 7) if dynamic else (5,):
        for options in ((), ("D", "z", "delta_bias", "initial_state", "bias", "initial_window", "lengths")):
            arguments = make(length, options=options)
            assert_same(with_gradients(compiled, arguments), with_gradients(op, arguments))


@OPS
def test_only_the_gradients_asked_for_are_given(op: Op, slow: Op, make: Op):
    arguments = make(4)
    for name in arguments:
        leaves = {n: t.detach().requires_grad_(n == name) for n, t in arguments.items()}
        y, state = op(**leaves)
        (y.sum() + state.sum()).backward()
        assert [n for n, t in leaves.items() if t.grad is not None] == [name]
    y, state = op(**arguments)
    assert not y.requires_grad
    assert not state.requires_grad


def test_a_state_not_asked_for_is_empty_and_without_history():
    *tensors, state, lengths = scan_call((), torch.float32, requires_grad=True)
    y, nothing = torch.ops.mambacl.selective_scan(*tensors, True, state, False, lengths)
    assert (y.requires_grad, nothing.requires_grad, nothing.shape) == (True, False, (0,))
    *tensors, window, lengths = conv_call((), torch.float32, requires_grad=True)
    y, nothing = torch.ops.mambacl.causal_conv1d(*tensors, True, window, False, lengths)
    assert (y.requires_grad, nothing.requires_grad, nothing.shape) == (True, False, (0,))


@OPS
def test_a_second_derivative_is_refused(op: Op, slow: Op, make: Op):
    for name in make(4):
        arguments = make(4, dtype=torch.float64)
        leaf = arguments[name].requires_grad_()
        y, state = op(**arguments)
        (first,) = torch.autograd.grad(y.square().sum() + state.square().sum(), leaf, create_graph=True)
        with pytest.raises(NotImplementedError, match="can be differentiated once only"):
            torch.autograd.grad(first.square().sum(), leaf)


@OPS
def test_the_reference_has_second_derivatives(op: Op, slow: Op, make: Op):
    arguments = make(2, 2, 2, groups=1, dtype=torch.float64)
    names = list(arguments)
    leaves = tuple(tensor.requires_grad_() for tensor in arguments.values())
    assert torch.autograd.gradgradcheck(lambda *a: slow(**dict(zip(names, a, strict=True))), leaves)


@OPS
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # torch's own
def test_forward_mode_is_the_references(op: Op, slow: Op, make: Op):
    arguments = make(4, dtype=torch.float64)
    for name, tensor in arguments.items():
        with forward_ad.dual_level():
            dual = {**arguments, name: forward_ad.make_dual(tensor, torch.ones_like(tensor))}
            for got, want in zip(op(**dual), slow(**dual), strict=True):
                got, want = forward_ad.unpack_dual(got), forward_ad.unpack_dual(want)
                torch.testing.assert_close(got.primal, want.primal)
                if want.tangent is not None:
                    torch.testing.assert_close(got.tangent, want.tangent)


@OPS
def test_vmap_gives_what_a_loop_gives(op: Op, slow: Op, make: Op):
    arguments = make(4)
    name = next(iter(arguments))
    many = torch.stack([arguments[name], 2 * arguments[name]])
    got = torch.func.vmap(lambda x: op(**{**arguments, name: x}))(many)
    for i, x in enumerate(many):
        for batched, single in zip(got, op(**{**arguments, name: x}), strict=True):
            assert torch.equal(batched[i], single)


@OPS
def test_inputs_are_left_as_they_were(op: Op, slow: Op, make: Op):
    arguments = make(4)
    before = {name: tensor.clone() for name, tensor in arguments.items()}
    with_gradients(op, arguments)
    assert_same(arguments, before)


@OPS
def test_an_input_changed_before_the_backward_pass_is_noticed(op: Op, slow: Op, make: Op):
    arguments = make(4)
    first = next(iter(arguments.values())).requires_grad_()
    state_name = list(arguments)[-1]
    y, _ = op(**arguments)
    arguments[state_name].zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(y.sum(), first)
