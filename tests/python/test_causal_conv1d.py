"""The fused causal convolution: right against its reference, whatever the sizes, layouts and types."""

import itertools
from functools import partial

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.nn import functional as F

from mambacl.errors import DeviceError, DtypeError, InvalidValueError, ShapeError
from mambacl.ops import causal_conv1d, reference
from op_arguments import (
    CONV_OPTIONS,
    assert_near,
    conv_arguments,
    padding,
    widened,
    with_gradients,
)
from small_learners import assert_same
from torch_threads import on_threads

pytestmark = pytest.mark.usefixtures("nan_in_fresh_memory")

FUSED = partial(causal_conv1d, activation="silu", return_final_window=True)
REFERENCE = partial(reference.causal_conv1d, activation="silu", return_final_window=True)


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("d_conv", [1, 2, 4, 7])
@pytest.mark.parametrize("length", [1, 2, 3, 63, 64, 65])
def test_agrees_with_the_reference(length: int, d_conv: int, groups: int):
    arguments = conv_arguments(length, 19, d_conv, groups)
    want = with_gradients(REFERENCE, widened(arguments))
    assert_near(with_gradients(FUSED, arguments), want, 5e-6)
    assert_near(with_gradients(FUSED, widened(arguments)), want, 1e-12)


@pytest.mark.parametrize("d_inner", [1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 48])
def test_agrees_for_channels_on_and_off_the_simd_width(d_inner: int):
    arguments = conv_arguments(4, d_inner)
    want = with_gradients(REFERENCE, widened(arguments))
    assert_near(with_gradients(FUSED, arguments), want, 5e-6)
    assert_near(with_gradients(FUSED, widened(arguments)), want, 1e-12)


@pytest.mark.parametrize("activation", [None, "silu"])
@pytest.mark.parametrize(
    "options", [c for n in range(4) for c in itertools.combinations(CONV_OPTIONS, n)], ids="-".join
)
def test_agrees_with_any_options(options: tuple[str, ...], activation: str | None):
    arguments = conv_arguments(6, 9, options=options, dtype=torch.float64)
    fused = partial(causal_conv1d, activation=activation, return_final_window=True)
    slow = partial(reference.causal_conv1d, activation=activation, return_final_window=True)
    assert_near(with_gradients(fused, arguments), with_gradients(slow, arguments), 1e-12)
    alone = causal_conv1d(**arguments, activation=activation)
    assert torch.equal(alone, fused(**arguments)[0])


def test_is_a_depthwise_convolution_padded_on_the_left():
    arguments = conv_arguments(9, options=("bias",), dtype=torch.float64)
    x, weight, bias = arguments["x"], arguments["weight"], arguments["bias"]
    want = F.conv1d(F.pad(x.transpose(1, 2), (3, 0)), weight.unsqueeze(1), bias, groups=19).transpose(1, 2)
    torch.testing.assert_close(causal_conv1d(x, weight, bias), want)
    torch.testing.assert_close(causal_conv1d(x, weight, bias, "silu"), F.silu(want))


def test_padding_is_never_read():
    arguments = conv_arguments(6, options=CONV_OPTIONS)
    lengths = [6, 0, 1, 5, 2, 0]
    arguments["lengths"] = torch.tensor(lengths)
    clean = with_gradients(FUSED, padding(arguments, 0.0), padded_dy=0.0)
    dirty = with_gradients(FUSED, padding(arguments, torch.nan), padded_dy=torch.nan)
    assert all(tensor.isfinite().all() for tensor in dirty.values())
    assert_same(dirty, clean)
    slow = with_gradients(REFERENCE, widened(padding(arguments, torch.nan)), padded_dy=torch.nan)
    assert_near(dirty, slow, 5e-6)
    for row, real in enumerate(lengths):
        assert not dirty["y"][row, real:].any()
        assert not dirty["gradient of x"][row, real:].any()
        read = torch.cat([arguments["initial_window"][row // 2], arguments["x"][row, :real].t()], -1)
        assert torch.equal(dirty["final state"][row], read[:, -3:])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("pieces", [[20], [1] * 20, [2, 1, 17], [5, 0, 15]], ids=str)
def test_in_pieces_gives_the_same_bits_as_at_once(pieces: list[int], dtype: torch.dtype):
    arguments = conv_arguments(20, dtype=dtype, per_group=1)
    y, final_window = FUSED(**arguments)
    window, ys = arguments["initial_window"], []
    for x in arguments["x"].split(pieces, 1):
        y_part, window = FUSED(**{**arguments, "x": x, "initial_window": window})
        ys.append(y_part)
    assert torch.equal(torch.cat(ys, 1), y)
    assert torch.equal(window, final_window)


def test_takes_views_of_any_layout():
    arguments = conv_arguments(7)
    views = {
        "x": torch.cat([arguments["x"], arguments["x"]], -1)[..., 19:],
        "weight": arguments["weight"].t().contiguous().t(),
        "bias": arguments["bias"].repeat_interleave(2)[::2],
        "initial_window": arguments["initial_window"].transpose(1, 2).contiguous().transpose(1, 2),
    }
    assert not any(view.is_contiguous() for view in views.values())
    want = with_gradients(FUSED, arguments)
    assert_same(with_gradients(FUSED, views), want)
    views["x"] = arguments["x"].transpose(1, 2).contiguous().transpose(1, 2)
    assert_same(with_gradients(FUSED, views), want)


def test_takes_expanded_inputs_and_gradients():
    arguments = conv_arguments(7)
    gradients = []
    for x, weigh in (
        (arguments["x"][:1].expand(6, -1, -1), torch.Tensor.sum),
        (arguments["x"][:1].repeat(6, 1, 1), lambda t: (t * torch.ones_like(t)).sum()),
    ):
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in {**arguments, "x": x}.items()}
        y, window = FUSED(**leaves)
        gradients.append(torch.autograd.grad(weigh(y) + weigh(window), list(leaves.values())))
    for expanded_gradient, solid_gradient in zip(*gradients, strict=True):
        assert torch.equal(expanded_gradient, solid_gradient)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_computes_in_float32(dtype: torch.dtype):
    arguments = conv_arguments(65, dtype=dtype)
    results = with_gradients(FUSED, arguments)
    assert results["y"].dtype == dtype
    assert results["final state"].dtype == torch.float32
    for name, tensor in arguments.items():
        assert results[f"gradient of {name}"].dtype == tensor.dtype
    want = with_gradients(REFERENCE, {name: tensor.float() for name, tensor in arguments.items()})
    assert torch.equal(results["final state"], want["final state"])
    assert_near(results, want, 4 * torch.finfo(dtype).eps)


def test_nan_shows_in_the_steps_it_reaches_and_nowhere_else():
    arguments = conv_arguments(9)
    arguments["x"][1, 3, 17] = torch.nan
    y, window = FUSED(**arguments)
    hurt = torch.zeros_like(y, dtype=torch.bool)
    hurt[1, 3:7, 17] = True
    assert torch.equal(y.isnan(), hurt)
    assert window.isfinite().all()


def test_swish_is_silu():
    arguments = conv_arguments(options=CONV_OPTIONS)
    want = causal_conv1d(**arguments, activation="silu")
    assert torch.equal(causal_conv1d(**arguments, activation="swish"), want)
    assert_near(
        {"y": reference.causal_conv1d(**widened(arguments), activation="swish")}, {"y": want.double()}, 5e-6
    )
    torch.compiler.reset()
    compiled = torch.compile(causal_conv1d, backend="eager", fullgraph=True)
    assert torch.equal(compiled(**arguments, activation="swish"), want)


def test_a_final_window_of_no_sequences_is_taken_back():
    x, weight = torch.zeros(0, 3, 5), torch.zeros(5, 4)
    _, window = FUSED(x, weight)
    assert window.shape == (0, 5, 3)
    y, again = FUSED(x, weight, initial_window=window)
    assert (y.shape, again.shape) == (x.shape, window.shape)
    with pytest.raises(ShapeError, match="`initial_window`"):
        FUSED(torch.zeros(2, 3, 5), weight, initial_window=window)


@pytest.mark.parametrize("empty", ["batch", "groups", "length", "d_inner"])
def test_empty_sizes(empty: str):
    sizes = {"batch": {"per_group": 0}}.get(empty, {empty: 0})
    arguments = conv_arguments(**{"length": 3, "groups": 2, **sizes})
    assert_near(with_gradients(FUSED, arguments), with_gradients(REFERENCE, arguments), 5e-6)


def test_any_number_of_threads_gives_the_same_bits():
    arguments = conv_arguments(40, 130, groups=4)
    with on_threads(1):
        one = with_gradients(FUSED, arguments)
    for count in (2, 3, 5, 8):
        with on_threads(count):
            assert_same(with_gradients(FUSED, arguments), one)


def check_agreement() -> None:
    """A small part of the grid, for a process of its own (see test_selective_scan)."""
    for length, d_inner, d_conv in ((1, 1, 1), (3, 19, 4), (65, 33, 2)):
        arguments = conv_arguments(length, d_inner, d_conv)
        assert_near(with_gradients(FUSED, arguments), with_gradients(REFERENCE, widened(arguments)), 5e-6)


WRONG_SHAPES = {
    "x": (6, 5),
    "weight": (18, 4),
    "bias": (19, 1),
    "initial_window": (3, 19, 4),
    "lengths": (6, 1),
}


@pytest.mark.parametrize("op", [causal_conv1d, reference.causal_conv1d], ids=["fused", "reference"])
@pytest.mark.parametrize("name", WRONG_SHAPES)
class TestRefuses:
    def test_a_wrong_shape(self, op, name: str):
        arguments = conv_arguments(options=CONV_OPTIONS)
        arguments[name] = torch.zeros(WRONG_SHAPES[name], dtype=arguments[name].dtype)
        with pytest.raises(ShapeError, match=f"argument `{name}`"):
            op(**arguments)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.int32, torch.bool, torch.uint16, torch.complex64])
    def test_a_wrong_dtype(self, op, name: str, dtype: torch.dtype):
        arguments = conv_arguments(options=CONV_OPTIONS)
        arguments[name] = torch.zeros(arguments[name].shape, dtype=dtype)
        # With `x` in float64 the first of the others is the odd one.
        odd = "weight" if (name, dtype) == ("x", torch.float64) else name
        with pytest.raises(DtypeError, match=f"argument `{odd}`"):
            op(**arguments)

    def test_another_device(self, op, name: str):
        arguments = conv_arguments(options=CONV_OPTIONS)
        arguments[name] = arguments[name].to("meta")
        with pytest.raises(DeviceError, match=f"argument `{'weight' if name == 'x' else name}`.*got"):
            op(**arguments)

    def test_what_is_no_tensor(self, op, name: str):
        arguments = conv_arguments(options=CONV_OPTIONS)
        with pytest.raises(TypeError, match=rf"argument `{name}` must be a torch.Tensor.*got list"):
            op(**{**arguments, name: arguments[name].tolist()})


@pytest.mark.parametrize("op", [causal_conv1d, reference.causal_conv1d], ids=["fused", "reference"])
class TestRefusesTheValue:
    @pytest.mark.parametrize("length", [-1, 6, 2**40])
    def test_of_a_length_out_of_range(self, op, length: int):
        arguments = conv_arguments(options=CONV_OPTIONS)
        arguments["lengths"][3] = length
        with pytest.raises(InvalidValueError, match=rf"`lengths` must be between 0 .* 5.*{length}"):
            op(**arguments)

    @pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
    def test_of_an_unknown_activation(self, op, compiled: bool):
        if compiled and op is causal_conv1d:
            torch.compiler.reset()
            op = torch.compile(op, backend="eager")
        for unknown in ("relu", "SiLU", "", True, torch.nn.SiLU()):
            with pytest.raises(
                InvalidValueError, match=r"`activation` must be None, \"silu\" or \"swish\", got"
            ):
                op(**conv_arguments(), activation=unknown)

    def test_of_a_flag_that_is_no_bool(self, op):
        for wrong in ("no", 1, None):
            with pytest.raises(TypeError, match=r"`return_final_window` must be a bool, got"):
                op(**conv_arguments(), return_final_window=wrong)

    def test_of_no_taps(self, op):
        with pytest.raises(ShapeError, match="argument `weight`"):
            op(torch.zeros(1, 2, 3), torch.zeros(3, 0))


def test_refuses_a_device_without_a_kernel():
    with FakeTensorMode():
        arguments = {n: torch.empty(t.shape, device="xpu") for n, t in conv_arguments().items()}
        with pytest.raises(DeviceError, match=r"`x` must be on a device with a kernel.*got xpu"):
            causal_conv1d(**arguments)


def test_meta_tensors_give_the_shapes():
    y, window = FUSED(**{name: tensor.to("meta") for name, tensor in conv_arguments().items()})
    assert (y.shape, window.shape, y.device.type) == ((6, 5, 19), (6, 19, 3), "meta")
