"""The fused selective scan: right against its reference, whatever the sizes, layouts and types."""

import itertools
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch._subclasses import FakeTensorMode

from mambacl import _core
from mambacl.errors import DeviceError, DtypeError, InvalidValueError, ShapeError
from mambacl.ops import reference, selective_scan
from op_arguments import (
    SCAN_OPTIONS,
    assert_near,
    padding,
    scan_arguments,
    widened,
    with_gradients,
)
from small_learners import assert_same
from torch_threads import on_threads

pytestmark = pytest.mark.usefixtures("nan_in_fresh_memory")

FUSED = partial(selective_scan, delta_softplus=True, return_final_state=True)
REFERENCE = partial(reference.selective_scan, delta_softplus=True, return_final_state=True)
SIMD_LEVELS = ("portable", "avx2", "avx512")


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("d_state", [1, 8, 16, 64])
@pytest.mark.parametrize("length", [1, 2, 3, 63, 64, 65])
def test_agrees_with_the_reference(length: int, d_state: int, groups: int):
    arguments = scan_arguments(length, 19, d_state, groups)
    want = with_gradients(REFERENCE, widened(arguments))
    assert_near(with_gradients(FUSED, arguments), want, 5e-6)
    assert_near(with_gradients(FUSED, widened(arguments)), want, 1e-12)


@pytest.mark.parametrize("d_inner", [1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 48])
def test_agrees_for_channels_on_and_off_the_simd_width(d_inner: int):
    arguments = scan_arguments(4, d_inner, 5)
    want = with_gradients(REFERENCE, widened(arguments))
    assert_near(with_gradients(FUSED, arguments), want, 5e-6)
    assert_near(with_gradients(FUSED, widened(arguments)), want, 1e-12)


@pytest.mark.parametrize("d_state", [2, 3, 4, 5, 7, 12, 13, 29])
def test_agrees_for_states_that_are_cut_into_uneven_blocks(d_state: int):
    arguments = scan_arguments(4, 17, d_state)
    assert_near(with_gradients(FUSED, arguments), with_gradients(REFERENCE, widened(arguments)), 5e-6)


@pytest.mark.parametrize("softplus", [False, True])
@pytest.mark.parametrize(
    "options", [c for n in range(6) for c in itertools.combinations(SCAN_OPTIONS, n)], ids="-".join
)
def test_agrees_with_any_options(options: tuple[str, ...], softplus: bool):
    arguments = scan_arguments(4, 9, 3, options=options, dtype=torch.float64)
    if not softplus:
        arguments["delta"] = arguments["delta"].abs()
    fused = partial(selective_scan, delta_softplus=softplus, return_final_state=True)
    slow = partial(reference.selective_scan, delta_softplus=softplus, return_final_state=True)
    want = with_gradients(slow, arguments)
    assert_near(with_gradients(fused, arguments), want, 1e-12)
    alone = selective_scan(**arguments, delta_softplus=softplus)
    assert torch.equal(alone, fused(**arguments)[0])


@pytest.mark.parametrize("length", [255, 256, 257, 300, 520])
def test_agrees_beyond_a_chunk_of_the_backward_pass(length: int):
    arguments = scan_arguments(length, 5, 18, groups=1, per_group=3, options=SCAN_OPTIONS)
    arguments["lengths"] = torch.tensor([length, length - 256 if length > 256 else 7, length - 1])
    want = with_gradients(REFERENCE, widened(arguments))
    assert_near(with_gradients(FUSED, arguments), want, 2e-5)
    assert_near(with_gradients(FUSED, widened(arguments)), want, 1e-12)


@pytest.mark.parametrize("length", [6, 300])
def test_padding_is_never_read(length: int):
    arguments = scan_arguments(length, 19, 9, groups=3, per_group=2, options=SCAN_OPTIONS)
    lengths = [length, 0, 1, length - 1, 2, 0]
    arguments["lengths"] = torch.tensor(lengths)
    clean = with_gradients(FUSED, padding(arguments, 0.0), padded_dy=0.0)
    dirty = with_gradients(FUSED, padding(arguments, torch.nan), padded_dy=torch.nan)
    assert all(tensor.isfinite().all() for tensor in dirty.values())
    assert_same(dirty, clean)
    slow = with_gradients(REFERENCE, widened(padding(arguments, torch.nan)), padded_dy=torch.nan)
    assert_near(dirty, slow, 2e-5)

    for row, real in enumerate(lengths):
        assert not dirty["y"][row, real:].any()
        for name in ("u", "delta", "B", "C", "z"):
            assert not dirty[f"gradient of {name}"][row, real:].any(), name
        # A sequence by itself, cut to its length, ends in the same state.
        cut = {
            name: tensor[row : row + 1, :real] if name in ("u", "delta", "B", "C", "z") else tensor
            for name, tensor in arguments.items()
            if name != "lengths"
        }
        cut["initial_state"] = arguments["initial_state"][row // 2 : row // 2 + 1]
        _, state = FUSED(**cut)
        assert torch.equal(state[0], dirty["final state"][row])
    assert torch.equal(dirty["final state"][1], arguments["initial_state"][0])


def test_sequences_of_no_length_pass_the_state_and_its_gradient_on():
    arguments = scan_arguments(3, options=SCAN_OPTIONS)
    arguments["lengths"] = torch.zeros(6, dtype=torch.int64)
    results = with_gradients(FUSED, padding(arguments, torch.nan))
    assert torch.equal(results["final state"], arguments["initial_state"].repeat_interleave(2, 0))
    for name, tensor in results.items():
        if name not in ("final state", "gradient of initial_state"):
            assert not tensor.any(), name
    generator = torch.Generator().manual_seed(1)
    torch.randn(results["y"].shape, generator=generator, dtype=torch.float64)
    dstate = torch.randn(6, 19, 8, generator=generator, dtype=torch.float64).float()
    torch.testing.assert_close(results["gradient of initial_state"], dstate.view(3, 2, 19, 8).sum(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("pieces", [[70], [1] * 70, [64, 6], [63, 1, 6], [5, 0, 65]], ids=str)
def test_in_pieces_gives_the_same_bits_as_at_once(pieces: list[int], dtype: torch.dtype):
    arguments = scan_arguments(70, 19, 11, dtype=dtype, per_group=1)
    y, final_state = FUSED(**arguments)
    state, ys = arguments["initial_state"], []
    parts = {name: arguments[name].split(pieces, 1) for name in ("u", "delta", "B", "C", "z")}
    for i in range(len(pieces)):
        part = {name: piece[i] for name, piece in parts.items()}
        y_part, state = FUSED(**{**arguments, **part, "initial_state": state})
        ys.append(y_part)
    assert torch.equal(torch.cat(ys, 1), y)
    assert torch.equal(state, final_state)


def test_gradients_flow_through_the_states_between_pieces():
    arguments = scan_arguments(9, dtype=torch.float64, per_group=1)

    def in_pieces(**arguments: torch.Tensor):
        state, ys = arguments.pop("initial_state"), []
        for start, end in ((0, 2), (2, 3), (3, 9)):
            part = {
                n: t[:, start:end] if n in ("u", "delta", "B", "C", "z") else t for n, t in arguments.items()
            }
            y, state = FUSED(**part, initial_state=state)
            ys.append(y)
        return torch.cat(ys, 1), state

    assert_near(with_gradients(in_pieces, arguments), with_gradients(FUSED, arguments), 1e-12)


def test_grouped_sequences_each_continue_their_group():
    arguments = scan_arguments(4, groups=3, per_group=2)
    repeated = {**arguments, "initial_state": arguments["initial_state"].repeat_interleave(2, 0)}
    for grouped, alone in zip(FUSED(**arguments), FUSED(**repeated), strict=True):
        assert torch.equal(grouped, alone)


@pytest.mark.parametrize("softplus", [False, True])
def test_the_state_alone_can_be_differentiated(softplus: bool):
    arguments = scan_arguments(4, dtype=torch.float64)
    gradients = []
    for op in (selective_scan, reference.selective_scan):
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in arguments.items()}
        _, state = op(**leaves, delta_softplus=softplus, return_final_state=True)
        given = torch.autograd.grad(state.square().sum(), list(leaves.values()), allow_unused=True)
        gradients.append([torch.zeros(()) if g is None else g for g in given])
    for fused, slow in zip(*gradients, strict=True):
        torch.testing.assert_close(fused, slow.to(fused.dtype).expand_as(fused))


def test_takes_views_of_any_layout():
    arguments = scan_arguments(7, 19, 8)
    views = dict(arguments)
    views["u"] = arguments["u"].transpose(1, 2).contiguous().transpose(1, 2)
    views["delta"] = torch.cat([arguments["z"], arguments["delta"]], -1)[..., 19:]
    views["z"] = arguments["z"].repeat_interleave(2, -1)[..., ::2]
    projected = torch.cat([arguments["C"], arguments["B"], arguments["C"]], -1)
    views["B"], views["C"] = projected[..., 8:16], projected[..., 16:]
    views["A"] = arguments["A"].t().contiguous().t()
    views["D"] = arguments["D"].repeat_interleave(3)[::3]
    views["delta_bias"] = arguments["delta_bias"].flip(0).contiguous().flip(0)
    views["initial_state"] = arguments["initial_state"].permute(2, 0, 1).contiguous().permute(1, 2, 0)
    assert sum(not view.is_contiguous() for view in views.values()) >= 7
    assert_same(with_gradients(FUSED, views), with_gradients(FUSED, arguments))


def test_takes_expanded_inputs_and_gradients():
    arguments = scan_arguments(7, 19, 8)
    expanded = {
        **arguments,
        "u": torch.tensor(0.5).expand(6, 7, 19),
        "B": arguments["B"][:1].expand(6, -1, -1),
    }
    solid = {name: tensor.contiguous() for name, tensor in expanded.items()}
    assert_same(with_gradients(FUSED, expanded), with_gradients(FUSED, solid))
    gradients = []
    for weigh in (torch.Tensor.sum, lambda t: (t * torch.ones_like(t)).sum()):
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in arguments.items()}
        y, state = FUSED(**leaves)
        gradients.append(torch.autograd.grad(weigh(y) + weigh(state), list(leaves.values())))
    for expanded_gradient, solid_gradient in zip(*gradients, strict=True):
        assert torch.equal(expanded_gradient, solid_gradient)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("mixed", [False, True], ids=["throughout", "float32 parameters"])
def test_half_precision_computes_in_float32(dtype: torch.dtype, mixed: bool):
    arguments = scan_arguments(65, dtype=dtype)
    if mixed:
        for name in ("A", "D", "delta_bias", "initial_state"):
            arguments[name] = arguments[name].float()
    results = with_gradients(FUSED, arguments)
    want = with_gradients(REFERENCE, {name: tensor.float() for name, tensor in arguments.items()})
    assert results["y"].dtype == dtype
    assert results["final state"].dtype == torch.float32
    for name, tensor in arguments.items():
        assert results[f"gradient of {name}"].dtype == tensor.dtype
    # The state took no rounding to half precision on its way.
    state = {"final state": results.pop("final state")}
    assert_near(state, {"final state": want.pop("final state")}, 5e-6)
    assert_near(results, want, 4 * torch.finfo(dtype).eps)


def test_strong_decay_and_wide_gates_neither_overflow_nor_underflow():
    arguments = scan_arguments(6, 19, 4)
    arguments["delta"] = arguments["delta"] * 100
    arguments["A"] = arguments["A"] * 100
    arguments["z"] = arguments["z"] * 100
    results = with_gradients(FUSED, arguments)
    assert all(tensor.isfinite().all() for tensor in results.values())
    assert_near(results, with_gradients(REFERENCE, widened(arguments)), 5e-6)


def test_nan_shows_from_its_step_on_and_nowhere_else():
    for name in ("u", "delta", "z"):
        arguments = scan_arguments(6, 19, 4)
        arguments[name][1, 3, 17] = torch.nan
        y, state = FUSED(**arguments)
        hurt = torch.zeros_like(y, dtype=torch.bool)
        hurt[1, 3 : 4 if name == "z" else 6, 17] = True
        assert torch.equal(y.isnan(), hurt), name
        assert state.isnan().any() == (name != "z")


def test_a_final_state_of_no_sequences_is_taken_back():
    arguments = scan_arguments(3, groups=0, options=())
    _, state = FUSED(**arguments)
    assert state.shape == (0, 19, 8)
    y, again = FUSED(**arguments, initial_state=state)
    assert (y.shape, again.shape) == (arguments["u"].shape, state.shape)
    with pytest.raises(ShapeError, match="`initial_state`"):
        FUSED(**scan_arguments(3, options=()), initial_state=state)


@pytest.mark.parametrize("wrong", ["no", 1, None], ids=str)
@pytest.mark.parametrize("flag", ["delta_softplus", "return_final_state"])
@pytest.mark.parametrize("op", [selective_scan, reference.selective_scan], ids=["fused", "reference"])
def test_refuses_a_flag_that_is_no_bool(op, flag: str, wrong: object):
    with pytest.raises(TypeError, match=f"`{flag}` must be a bool, got {type(wrong).__name__}"):
        op(**scan_arguments(), **{flag: wrong})


@pytest.mark.parametrize("empty", ["batch", "groups", "length", "d_inner", "d_state"])
def test_empty_sizes(empty: str):
    sizes = {"batch": {"per_group": 0}}.get(empty, {empty: 0})
    arguments = scan_arguments(**{"length": 3, "groups": 2, **sizes})
    results = with_gradients(FUSED, arguments)
    assert_near(results, with_gradients(REFERENCE, arguments), 5e-6)


def test_any_number_of_threads_gives_the_same_bits():
    arguments = scan_arguments(40, 130, 16, groups=4)
    with on_threads(1):
        one = with_gradients(FUSED, arguments)
    for count in (2, 3, 5, 8):
        with on_threads(count):
            assert_same(with_gradients(FUSED, arguments), one)


def check_agreement() -> None:
    """A small part of the grid, for a process of its own."""
    for length, d_inner, d_state in ((1, 1, 1), (3, 19, 16), (65, 33, 13)):
        arguments = scan_arguments(length, d_inner, d_state)
        assert_near(with_gradients(FUSED, arguments), with_gradients(REFERENCE, widened(arguments)), 5e-6)


@pytest.mark.parametrize("level", SIMD_LEVELS[:-1])
def test_agrees_at_lower_simd_levels(level: str):
    if SIMD_LEVELS.index(level) > SIMD_LEVELS.index(_core.simd_level()):
        pytest.skip(f"this processor has no {level}")
    code = (
        "import test_causal_conv1d as conv, test_selective_scan as scan; from mambacl import _core;"
        f"assert _core.simd_level() == {level!r}; scan.check_agreement(); conv.check_agreement()"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = {**os.environ, "MAMBACL_SIMD": level, "PYTHONPATH": path}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


WRONG_SHAPES = {
    "u": (6, 5),
    "delta": (6, 4, 19),
    "A": (18, 8),
    "B": (6, 5, 7),
    "C": (6, 5, 8, 1),
    "D": (18,),
    "z": (5, 5, 19),
    "delta_bias": (19, 1),
    "initial_state": (4, 19, 8),
    "lengths": (5,),
}


@pytest.mark.parametrize("op", [selective_scan, reference.selective_scan], ids=["fused", "reference"])
@pytest.mark.parametrize("name", WRONG_SHAPES)
class TestRefuses:
    def test_a_wrong_shape(self, op, name: str):
        arguments = scan_arguments(options=SCAN_OPTIONS)
        arguments[name] = torch.zeros(WRONG_SHAPES[name], dtype=arguments[name].dtype)
        with pytest.raises(ShapeError, match=f"argument `{name}`"):
            op(**arguments)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.int32, torch.bool, torch.uint16, torch.complex64])
    def test_a_wrong_dtype(self, op, name: str, dtype: torch.dtype):
        arguments = scan_arguments(options=SCAN_OPTIONS)
        arguments[name] = torch.zeros(arguments[name].shape, dtype=dtype)
        # With `u` in float64 the first of the others is the odd one.
        odd = "delta" if (name, dtype) == ("u", torch.float64) else name
        with pytest.raises(DtypeError, match=f"argument `{odd}`"):
            op(**arguments)

    def test_another_device(self, op, name: str):
        arguments = scan_arguments(options=SCAN_OPTIONS)
        arguments[name] = arguments[name].to("meta")
        odd = "delta" if name == "u" and op is selective_scan else name
        with pytest.raises(DeviceError, match=rf"argument `{odd}`|argument `delta`.*got cpu"):
            op(**arguments)

    def test_what_is_no_tensor(self, op, name: str):
        arguments = scan_arguments(options=SCAN_OPTIONS)
        with pytest.raises(TypeError, match=rf"argument `{name}` must be a torch.Tensor.*got list"):
            op(**{**arguments, name: arguments[name].tolist()})


@pytest.mark.parametrize("op", [selective_scan, reference.selective_scan], ids=["fused", "reference"])
@pytest.mark.parametrize("length", [-1, 6, 2**40])
def test_refuses_a_length_out_of_range(op, length: int):
    arguments = scan_arguments(options=SCAN_OPTIONS)
    arguments["lengths"][3] = length
    with pytest.raises(
        InvalidValueError, match=rf"`lengths` must be between 0 and the sequence length 5.*{length}"
    ):
        op(**arguments)


def test_the_kernel_itself_refuses_a_length_out_of_range():
    a = scan_arguments(options=("lengths",))
    lengths = torch.full((6,), 6)
    with pytest.raises(RuntimeError, match="`lengths` must be between 0"):
        torch.ops.mambacl.selective_scan(
            a["u"], a["delta"], a["A"], a["B"], a["C"], None, None, None, True, None, False, lengths
        )


def test_refuses_a_device_without_a_kernel():
    with FakeTensorMode():
        arguments = {n: torch.empty(t.shape, device="xpu") for n, t in scan_arguments().items()}
        with pytest.raises(DeviceError, match=r"`u` must be on a device with a kernel.*got xpu"):
            selective_scan(**arguments)


def test_meta_tensors_give_the_shapes():
    arguments = {name: tensor.to("meta") for name, tensor in scan_arguments().items()}
    y, state = FUSED(**arguments)
    assert (y.shape, state.shape, y.device.type) == ((6, 5, 19), (6, 19, 8), "meta")
    with pytest.raises(ShapeError, match="argument `B`"):
        FUSED(**{**arguments, "B": arguments["B"][:, :2]})
