"""The operations and the Mamba layer under `torch.func`: what ordinary autograd and loops give."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, stack_module_state, vjp, vmap

from mambacl.errors import InvalidValueError
from mambacl.nn import Mamba
from mambacl.ops import causal_conv1d, reference, selective_scan, transforms
from op_arguments import CONV_OPTIONS, SCAN_OPTIONS, conv_arguments, scan_arguments
from small_learners import assert_same

Op = Callable[..., Any]

# Forward mode's first use.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

SCAN = partial(selective_scan, delta_softplus=True, return_final_state=True)
CONV = partial(causal_conv1d, activation="silu", return_final_window=True)
SLOW_SCAN = partial(reference.selective_scan, delta_softplus=True, return_final_state=True)
SLOW_CONV = partial(reference.causal_conv1d, activation="silu", return_final_window=True)

OPS = pytest.mark.parametrize(
    ("op", "slow", "arguments"),
    [
        (SCAN, SLOW_SCAN, scan_arguments(4, 3, 2, dtype=torch.float64, options=SCAN_OPTIONS)),
        (CONV, SLOW_CONV, conv_arguments(4, 3, 3, dtype=torch.float64, options=CONV_OPTIONS)),
    ],
    ids=["selective_scan", "causal_conv1d"],
)


def floating(arguments: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in arguments.items() if tensor.is_floating_point()}


def squares(op: Op, arguments: dict[str, Tensor]) -> Callable[[dict[str, Tensor]], Tensor]:
    """A number made of both results, as a function of the floating arguments."""
    return lambda leaves: sum(result.square().sum() for result in op(**{**arguments, **leaves}))


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference would be noticed."""

    def refuse(*_: object) -> None:
        raise AssertionError("the reference ran")

    monkeypatch.setattr(reference, "selective_scan", refuse)
    monkeypatch.setattr(reference, "causal_conv1d", refuse)


@OPS
@pytest.mark.usefixtures("kernels")
def test_grad_is_autograds(op: Op, slow: Op, arguments: dict[str, Tensor]):
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in floating(arguments).items()}
    total = squares(op, arguments)
    want = torch.autograd.grad(total(leaves), list(leaves.values()))
    assert_same(grad(total)(floating(arguments)), dict(zip(leaves, want, strict=True)))


@OPS
@pytest.mark.usefixtures("kernels")
def test_an_argument_may_be_vmapped_along_any_axis(op: Op, slow: Op, arguments: dict[str, Tensor]):
    names = [(name,) for name in arguments] + [tuple(arguments)[:2], tuple(arguments)]
    for vmapped in names:
        for axis in (0, -1):
            many = {n: torch.stack([arguments[n], arguments[n].flip(0)], axis) for n in vmapped}
            got = vmap(lambda own: op(**{**arguments, **own}), in_dims=axis)(many)
            for i in range(2):
                single = op(**{**arguments, **{n: tensor.select(axis, i) for n, tensor in many.items()}})
                for g, w in zip(got, single, strict=True):
                    torch.testing.assert_close(g[i], w, msg=lambda text, v=vmapped: f"{v}: {text}")


@OPS
@pytest.mark.usefixtures("kernels")
def test_gradients_of_each_sample(op: Op, slow: Op, arguments: dict[str, Tensor]):
    """By what the samples share too, and by a few arguments only."""
    leading = next(iter(arguments))
    many = torch.stack([arguments[leading], -arguments[leading]])
    total = squares(op, arguments)
    for asked in ((leading,), tuple(floating(arguments))[:2], tuple(floating(arguments))):
        shared = {n: arguments[n] for n in asked if n != leading}
        got = vmap(grad(lambda own, x: total({**own, leading: x}), argnums=(0, 1)), in_dims=(None, 0))(
            shared, many
        )
        for i, x in enumerate(many):
            want = grad(lambda own, x: total({**own, leading: x}), argnums=(0, 1))(shared, x)
            assert_same({n: g[i] for n, g in got[0].items()}, want[0])
            torch.testing.assert_close(got[1][i], want[1])


@OPS
@pytest.mark.usefixtures("kernels")
def test_jacrev_and_a_vmap_of_a_vmap(op: Op, slow: Op, arguments: dict[str, Tensor]):
    leading = next(iter(arguments))
    x = arguments[leading]

    def y(x: Tensor) -> Tensor:
        return op(**{**arguments, leading: x})[0]

    columns = [torch.autograd.functional.jacobian(y, x)]
    torch.testing.assert_close(jacrev(y)(x), columns[0])
    many = torch.stack([x, 2 * x, 3 * x, 4 * x]).unflatten(0, (2, 2))
    got = vmap(vmap(y))(many)
    torch.testing.assert_close(got[1, 0], y(3 * x))
    torch.testing.assert_close(got[0, 1], y(2 * x))


@OPS
def test_forward_mode_and_second_derivatives(op: Op, slow: Op, arguments: dict[str, Tensor]):
    arguments = {name: tensor for name, tensor in arguments.items() if name != "lengths"}
    leading, tangent = next(iter(arguments)), torch.randn(4, 3, dtype=torch.float64)
    start = {n: t[:2] if t.shape[0] == 6 else t[:1] if t.dim() == 3 else t for n, t in arguments.items()}

    def total(op: Op) -> Callable[[Tensor], Tensor]:
        return lambda x: squares(op, start)({leading: x.expand(2, 4, 3)})

    x = arguments[leading][0]
    for transform in (
        lambda f: jvp(f, (x,), (tangent,))[1],
        lambda f: jacfwd(f)(x),
        lambda f: grad(lambda x: grad(f)(x).square().sum())(x),
        lambda f: hessian(f)(x),
        lambda f: jacrev(jacrev(f))(x),
        lambda f: jvp(grad(f), (x,), (tangent,))[1],
    ):
        torch.testing.assert_close(transform(total(op)), transform(total(slow)))
    numbers = torch.autograd.functional.hvp(total(slow), x, tangent)[1]
    torch.testing.assert_close(jvp(grad(total(op)), (x,), (tangent,))[1], numbers)


@OPS
def test_a_derivative_of_a_finished_one_is_refused(op: Op, slow: Op, arguments: dict[str, Tensor]):
    leading = next(iter(arguments))
    y, pullback = vjp(lambda x: op(**{**arguments, leading: x})[0], arguments[leading])
    with pytest.raises(NotImplementedError, match=r"mambacl\.ops\.reference"):
        grad(lambda dy: pullback(dy)[0].square().sum())(torch.ones_like(y))


@OPS
def test_lengths_are_checked_below_a_transform(op: Op, slow: Op, arguments: dict[str, Tensor]):
    lengths = torch.stack([arguments["lengths"], torch.full((6,), 5)])
    with pytest.raises(InvalidValueError, match="got values from 0 to 5"):
        vmap(lambda lengths: op(**{**arguments, "lengths": lengths}))(lengths)


@OPS
def test_an_empty_vmap(op: Op, slow: Op, arguments: dict[str, Tensor]):
    for name, tensor in arguments.items():
        none = tensor.new_empty((0, *tensor.shape))
        y, state = vmap(lambda own, name=name: op(**{**arguments, name: own}))(none)
        want = op(**arguments)
        assert (y.shape, state.shape) == ((0, *want[0].shape), (0, *want[1].shape))


def test_an_ordinary_call_runs_the_operator():
    assert transforms.way(compiling=False) == "operator"
    assert transforms.way(compiling=True) == "operator"
    x = torch.ones(())
    assert vmap(lambda x: (x, transforms.way(False) == "transformed")[0])(x[None]).shape == (1,)
    seen: list[str] = []
    grad(lambda x: (seen.append(transforms.way(False)), x)[1])(x)
    grad(grad(lambda x: (seen.append(transforms.way(False)), x)[1]))(x)
    jvp(lambda x: (seen.append(transforms.way(False)), x)[1], (x,), (x,))
    assert seen == ["transformed", "reference", "reference"]


def mamba() -> Mamba:
    torch.manual_seed(0)
    return Mamba(6, d_state=3).double()


def read(layer: Mamba, parameters: dict[str, Tensor], x: Tensor) -> Tensor:
    return functional_call(layer, parameters, (x[None],)).square().sum()


@pytest.mark.usefixtures("kernels")
def test_gradients_of_a_layer_for_each_sample():
    layer, x = mamba(), torch.randn(3, 4, 6, dtype=torch.float64)
    parameters = dict(layer.named_parameters())
    got = vmap(grad(partial(read, layer)), in_dims=(None, 0))(parameters, x)
    for i in range(3):
        want = torch.autograd.grad(layer(x[i : i + 1]).square().sum(), list(parameters.values()))
        for (name, g), w in zip(got.items(), want, strict=True):
            torch.testing.assert_close(g[i], w, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.usefixtures("kernels")
def test_an_ensemble_of_layers_and_its_ordinary_backward_pass():
    layers, x = [mamba(), Mamba(6, d_state=3).double()], torch.randn(2, 4, 6, dtype=torch.float64)
    parameters, _ = stack_module_state(layers)  # pyright: ignore[reportArgumentType]
    y = vmap(lambda own: functional_call(layers[0], own, (x,)))(parameters)
    (first, *_), (second, *_) = ((layer(x),) for layer in layers)
    torch.testing.assert_close(y, torch.stack([first, second]))
    y.square().sum().backward()
    for i, layer in enumerate(layers):
        layer(x).square().sum().backward()
        for name, parameter in layer.named_parameters():
            torch.testing.assert_close(parameters[name].grad[i], parameter.grad)


def test_jacobians_of_a_layer_agree():
    layer, x = mamba(), torch.randn(3, 6, dtype=torch.float64)
    reverse = jacrev(lambda x: layer(x[None])[0])(x)
    torch.testing.assert_close(jacfwd(lambda x: layer(x[None])[0])(x), reverse)
    v = torch.randn_like(x)
    tangent = jvp(lambda x: layer(x[None])[0], (x,), (v,))[1]
    torch.testing.assert_close(tangent, torch.einsum("abcd,cd->ab", reverse, v))
