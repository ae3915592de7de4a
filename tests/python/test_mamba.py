"""The Mamba layer: equal to transformers' MambaMixer, and one function whichever way it reads."""

import copy
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import MambaConfig
from transformers.models.mamba.modeling_mamba import MambaMixer

from mambacl.errors import ConfigError, DtypeError, ShapeError
from mambacl.nn import Mamba, MambaState

pytestmark = pytest.mark.usefixtures("nan_in_fresh_memory")


def layer(seed: int = 0, dtype: torch.dtype = torch.float32, **settings: Any) -> Mamba:
    """A layer whose every parameter matters: random numbers where the start has ones and zeros."""
    torch.manual_seed(seed)
    mamba = Mamba(**{"d_model": 12, "d_state": 5, **settings})
    with torch.no_grad():
        mamba.D.normal_()
        mamba.A_log.add_(0.3 * torch.randn_like(mamba.A_log))
    return mamba.to(dtype)


def tokens(length: int = 9, batch: int = 3, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(batch, length, 12, generator=torch.Generator().manual_seed(5)).to(dtype)


def mixer_of(mamba: Mamba, bias: bool, conv_bias: bool) -> MambaMixer:
    config = MambaConfig(
        hidden_size=mamba.d_model,
        state_size=mamba.d_state,
        conv_kernel=mamba.d_conv,
        expand=int(mamba.expand),
        time_step_rank=mamba.dt_rank,
        use_bias=bias,
        use_conv_bias=conv_bias,
        num_hidden_layers=1,
    )
    mixer = MambaMixer(config, layer_idx=0).to(mamba.D.dtype)
    mixer.load_state_dict(mamba.state_dict())
    return mixer


def output_and_gradients(module: nn.Module, x: Tensor, weight: Tensor) -> dict[str, Tensor]:
    x = x.detach().requires_grad_()
    output = module(x)
    names, parameters = zip(*module.named_parameters(), strict=True)
    gradients = torch.autograd.grad((output * weight).sum(), [x, *parameters])
    return {"output": output.detach(), **dict(zip(("tokens", *names), gradients, strict=True))}


# Its internal casts to float32 leave 6e-8 of relative error in float64.
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-6)], ids=["float32", "float64"]
)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"bias": True, "conv_bias": False, "d_conv": 3, "dt_rank": 4},
        {"d_state": 16, "expand": 3, "conv_bias": True},
    ],
    ids=str,
)
def test_equals_transformers_in_outputs_and_all_gradients(
    settings: dict[str, Any], dtype: torch.dtype, tolerance: float
):
    mamba = layer(dtype=dtype, **settings)
    mixer = mixer_of(mamba, settings.get("bias", False), settings.get("conv_bias", True))
    x = tokens(40, dtype=dtype)
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(6)).to(dtype)
    ours, theirs = (output_and_gradients(module, x, weight) for module in (mamba, mixer))
    assert ours.keys() == theirs.keys()
    for name, want in theirs.items():
        torch.testing.assert_close(
            ours[name],
            want,
            rtol=tolerance,
            atol=tolerance * want.abs().max().item(),
            msg=lambda text, name=name: f"{name}: {text}",
        )
        assert want.any(), name


def test_loads_the_weights_of_transformers_by_name():
    mamba = layer()
    mixer = mixer_of(mamba, bias=False, conv_bias=True)
    other = layer(seed=1)
    other.load_state_dict(mixer.state_dict())
    assert torch.equal(other(tokens()), mamba(tokens()))


def test_names_shapes_and_marks_are_upstreams():
    assert {name: tuple(tensor.shape) for name, tensor in Mamba(12, bias=True).state_dict().items()} == {
        "A_log": (24, 16),
        "D": (24,),
        "in_proj.weight": (48, 12),
        "in_proj.bias": (48,),
        "conv1d.weight": (24, 1, 4),
        "conv1d.bias": (24,),
        "x_proj.weight": (33, 24),
        "dt_proj.weight": (24, 1),
        "dt_proj.bias": (24,),
        "out_proj.weight": (12, 24),
        "out_proj.bias": (12,),
    }
    plain = Mamba(12, conv_bias=False)
    missing = {"in_proj.bias", "conv1d.bias", "out_proj.bias"}
    assert not missing & plain.state_dict().keys()
    marked = {n for n, p in plain.named_parameters() if getattr(p, "_no_weight_decay", False)}
    assert marked == {"A_log", "D"}
    assert plain.dt_proj.bias._no_reinit  # pyright: ignore


def test_starts_as_upstream():
    torch.manual_seed(0)
    mamba = Mamba(64, d_state=8, dt_rank=4, dt_min=0.01, dt_max=0.05)
    torch.testing.assert_close(mamba.A_log.exp(), torch.arange(1.0, 9.0).expand(128, 8))
    assert torch.equal(mamba.D, torch.ones(128))
    step = F.softplus(mamba.dt_proj.bias)
    assert 0.01 - 1e-6 <= step.min() < 0.012
    assert 0.045 < step.max() <= 0.05 + 1e-6
    assert 0.4 < mamba.dt_proj.weight.abs().max() <= 0.5
    torch.testing.assert_close(mamba.dt_proj.weight.std().item(), 0.5 / 3**0.5, rtol=0.1, atol=0)
    constant = Mamba(64, dt_rank=4, dt_init="constant", dt_scale=3.0, dt_min=1e-6, dt_max=1e-5)
    assert torch.equal(constant.dt_proj.weight, torch.full((128, 4), 1.5))
    torch.testing.assert_close(F.softplus(constant.dt_proj.bias), torch.full((128,), 1e-4))  # the floor
    assert Mamba(33).dt_rank == 3


@pytest.mark.parametrize("d_conv", [1, 2, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_step_by_step_is_forward(d_conv: int, dtype: torch.dtype):
    mamba, x = layer(dtype=dtype, d_conv=d_conv), tokens(dtype=dtype)
    conv_state, ssm_state = mamba.allocate_inference_cache(3, 9)
    outputs = []
    for t in range(9):
        output, same_conv, same_ssm = mamba.step(x[:, t : t + 1], conv_state, ssm_state)
        assert same_conv is conv_state
        assert same_ssm is ssm_state
        outputs.append(output)
    whole, state = mamba(x, return_state=True)
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 1e-12, "atol": 1e-13}
    torch.testing.assert_close(torch.cat(outputs, 1), whole, **tolerance)
    torch.testing.assert_close(ssm_state, state.ssm_state, **tolerance)
    inputs = mamba.in_proj(x).chunk(2, -1)[0].transpose(1, 2)
    torch.testing.assert_close(conv_state, inputs[:, :, -d_conv:], **tolerance)


def test_steps_can_be_trained_through():
    mamba, x = layer(dtype=torch.float64), tokens(dtype=torch.float64)
    states = mamba.allocate_inference_cache(3, 9)
    stepped = torch.cat([mamba.step(x[:, t : t + 1], *states)[0] for t in range(9)], 1)
    parameters = list(mamba.parameters())
    got = torch.autograd.grad(stepped.square().sum(), parameters)
    want = torch.autograd.grad(mamba(x).square().sum(), parameters)
    for g, w in zip(got, want, strict=True):
        torch.testing.assert_close(g, w)


@pytest.mark.parametrize("pieces", [[9], [1] * 9, [2, 1, 6], [4, 0, 5]], ids=str)
def test_in_pieces_is_at_once(pieces: list[int]):
    mamba, x = layer(), tokens()
    whole, last = mamba(x, return_state=True)
    state, outputs = None, []
    for piece in x.split(pieces, 1):
        before = None if state is None else MambaState(*(tensor.clone() for tensor in state))
        output, after = mamba(piece, state=state, return_state=True)
        if state is not None and before is not None:
            assert all(torch.equal(now, then) for now, then in zip(state, before, strict=True))
        outputs.append(output)
        state = after
    torch.testing.assert_close(torch.cat(outputs, 1), whole, rtol=1e-5, atol=1e-6)
    assert state is not None
    for got, want in zip(state, last, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)


def test_several_sequences_continue_one_state():
    mamba = layer(dtype=torch.float64)
    _, state = mamba(tokens(batch=2, dtype=torch.float64), return_state=True)
    questions = tokens(2, batch=6, dtype=torch.float64)
    repeated = MambaState(*(tensor.repeat_interleave(3, 0) for tensor in state))
    torch.testing.assert_close(mamba(questions, state=state), mamba(questions, state=repeated))


def test_lengths_stop_each_sequence():
    mamba, x = layer(dtype=torch.float64), tokens(dtype=torch.float64)
    lengths = torch.tensor([9, 0, 4])
    output, state = mamba(x, return_state=True, lengths=lengths)
    assert not output[2, 4:].any()
    cut, cut_state = mamba(x[2:, :4], return_state=True)
    torch.testing.assert_close(output[2:, :4], cut)
    for got, want in zip(state, cut_state, strict=True):
        torch.testing.assert_close(got[2:], want)
        assert not got[1].any()


def test_reads_with_the_cache_of_mamba_ssm():
    mamba, x = layer(layer_idx=3, dtype=torch.float64), tokens(dtype=torch.float64)
    cache = SimpleNamespace(key_value_memory_dict={}, seqlen_offset=0)
    outputs = []
    for start, end in ((0, 2), (2, 3), (3, 9)):
        outputs.append(mamba(x[:, start:end], inference_params=cache))
        cache.seqlen_offset = end
    torch.testing.assert_close(torch.cat(outputs, 1), mamba(x))
    cache.seqlen_offset = 0  # a new sequence forgets the last one
    torch.testing.assert_close(mamba(x, inference_params=cache), mamba(x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision(dtype: torch.dtype):
    mamba = layer(d_model=12)
    x = tokens()
    halved = copy.deepcopy(mamba).to(dtype)
    output, state = halved(x.to(dtype), return_state=True)
    assert output.dtype == dtype
    assert {tensor.dtype for tensor in state} == {torch.float32}
    want = mamba(x)
    torch.testing.assert_close(
        output.float(), want, rtol=0, atol=8 * torch.finfo(dtype).eps * want.abs().max().item()
    )
    output.sum().backward()
    assert all(p.grad is not None and p.grad.dtype == dtype for p in halved.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_is_made_in_a_dtype(dtype: torch.dtype):
    mamba = Mamba(12, dtype=dtype)
    at_least = torch.promote_types(dtype, torch.float32)
    assert {n: p.dtype for n, p in mamba.named_parameters() if p.dtype != dtype} == (
        {"A_log": at_least, "D": at_least} if at_least != dtype else {}
    )
    assert mamba(tokens(dtype=dtype)).dtype == dtype


def test_autocast():
    mamba, x = layer(), tokens()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = mamba(x)
    want = mamba(x)
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), want, rtol=0, atol=0.05 * want.abs().max().item())


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")  # Dynamo
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_compiles_to_one_graph(dynamic: bool):
    torch.compiler.reset()
    mamba = layer()
    compiled = torch.compile(mamba, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for length in (9, 7) if dynamic else (9,):
        x = tokens(length)
        got, want = (output_and_gradients(module, x, torch.ones_like(x)) for module in (compiled, mamba))
        for (name, g), w in zip(got.items(), want.values(), strict=True):
            torch.testing.assert_close(g, w, msg=lambda text, name=name: f"{name}: {text}")
        output, state = compiled(x, return_state=True)
        rest = compiled(x, state=state, return_state=False)
        torch.testing.assert_close(rest, mamba(x, state=state))
        torch.testing.assert_close(output, mamba(x))


def test_passes_for_a_module():
    mamba, x = layer(), tokens()
    twin = copy.deepcopy(mamba)
    assert torch.equal(twin(x), mamba(x))
    doubled = {name: 2 * p for name, p in mamba.named_parameters()}
    called = torch.func.functional_call(mamba, doubled, (x,))
    twin.load_state_dict(doubled)
    assert torch.equal(called, twin(x))
    meta = Mamba(12, d_state=5, device="meta")
    assert meta(x.to("meta")).shape == x.shape


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"d_model": 0}, "d_model"),
        ({"d_state": 0}, "d_state"),
        ({"d_conv": 0}, "d_conv"),
        ({"expand": 0}, "d_inner"),
        ({"dt_rank": 0}, "dt_rank"),
        ({"dt_min": 0.0}, "dt_min"),
        ({"dt_min": 0.2}, "dt_min"),
        ({"dt_max": float("nan")}, "dt_min"),
        ({"dt_init": "zeros"}, "dt_init"),
    ],
    ids=str,
)
def test_refuses_a_setting_out_of_range(settings: dict[str, Any], named: str):
    with pytest.raises(ConfigError, match=f"`{named}`"):
        Mamba(**{"d_model": 12, **settings})


def test_refuses_what_does_not_fit():
    mamba, x = layer(), tokens()
    with pytest.raises(ShapeError, match="`hidden_states`"):
        mamba(x[..., :11])
    with pytest.raises(ShapeError, match="`hidden_states`"):
        mamba(x[0])
    with pytest.raises(ShapeError, match="`initial_window`"):
        mamba(x, state=MambaState(torch.zeros(3, 24, 2), torch.zeros(3, 24, 5)))
    with pytest.raises(ShapeError, match="`initial_state`"):
        mamba(x, state=MambaState(torch.zeros(3, 24, 3), torch.zeros(3, 24, 4)))
    with pytest.raises(DtypeError, match="`initial_window`"):
        mamba(x, state=MambaState(torch.zeros(3, 24, 3, dtype=torch.int64), torch.zeros(3, 24, 5)))
    states = mamba.allocate_inference_cache(3, 9)
    with pytest.raises(ShapeError, match=r"\(batch, 1, d_model\)"):
        mamba.step(x, *states)
    with pytest.raises(ShapeError, match="`conv_state`"):
        mamba.step(x[:, :1], states[0][..., 1:], states[1])
    with pytest.raises(ShapeError, match="`ssm_state`"):
        mamba.step(x[:, :1], states[0], states[1][:2])


def test_refuses_a_cache_it_cannot_use():
    cache = SimpleNamespace(key_value_memory_dict={}, seqlen_offset=0)
    with pytest.raises(ConfigError, match="layer_idx"):
        layer()(tokens(), inference_params=cache)
    indexed = layer(layer_idx=0)
    with pytest.raises(ConfigError, match="excludes"):
        indexed(tokens(), inference_params=cache, return_state=True)
    cache.seqlen_offset = 4
    with pytest.raises(ConfigError, match="mid-sequence"):
        indexed(tokens(), inference_params=cache)


def test_keeps_no_more_than_its_backward_pass_needs():
    """Of the size of the inner sequence: both halves of in_proj, the convolution's output, delta before its
    bias and softplus, and the scan's output for out_proj. Nothing has an axis of states beside it."""
    batch, length, d_model, d_state = 2, 32, 64, 16
    layer = Mamba(d_model, d_state=d_state)
    x = torch.randn(batch, length, d_model, requires_grad=True)
    own = {tensor.untyped_storage().data_ptr() for tensor in [x, *layer.parameters()]}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y = layer(x)
    y.sum().backward()
    inner = 4 * batch * length * layer.d_inner
    small = 4 * batch * length * (layer.dt_rank + 2 * d_state)  # delta's low rank, B and C
    weights = 4 * layer.d_inner * (d_state + layer.d_conv)  # A
    assert 5 * inner <= sum(kept.values()) <= 5 * inner + small + 2 * weights


@pytest.mark.parametrize(("batch", "length"), [(0, 5), (2, 0), (0, 0)])
def test_reads_nothing(batch: int, length: int):
    mamba, x = layer(), torch.zeros(batch, length, 12, requires_grad=True)
    y, state = mamba(x, return_state=True)
    again, after = mamba(x, state=state, return_state=True)
    assert (y.shape, again.shape) == (x.shape, x.shape)
    assert [tensor.shape for tensor in after] == [(batch, 24, 3), (batch, 24, 5)]
    assert not any(tensor.any() for tensor in after)
    again.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in mamba.parameters())
    states = mamba.allocate_inference_cache(0, 1)
    assert mamba.step(torch.zeros(0, 1, 12), *states)[0].shape == (0, 1, 12)


def test_a_default_device_decides_where_a_layer_is_made_and_nothing_else():
    mamba, x, lengths = layer(), tokens(), torch.tensor([9, 0, 4])
    want = mamba(x, lengths=lengths)
    want_step = mamba.step(x[:, :1], *mamba.allocate_inference_cache(3, 9))[0]
    with torch.device("meta"):
        assert {p.device.type for p in Mamba(12).parameters()} == {"meta"}
        assert {p.device.type for p in Mamba(12, device="cpu").parameters()} == {"cpu"}
        assert Mamba(12)(torch.zeros(2, 5, 12)).shape == (2, 5, 12)
        for dt_proj in (mamba.dt_proj, nn.Sequential(mamba.dt_proj)):
            mamba.dt_proj = dt_proj  # pyright: ignore[reportAttributeAccessIssue]
            torch.testing.assert_close(mamba(x, lengths=lengths), want)
        torch.testing.assert_close(mamba.step(x[:, :1], *mamba.allocate_inference_cache(3, 9))[0], want_step)
        mamba.conv1d = nn.Sequential(mamba.conv1d)  # pyright: ignore[reportAttributeAccessIssue]
        torch.testing.assert_close(mamba(x, lengths=lengths), want)


@pytest.mark.parametrize("layout", [torch.jagged, torch.strided], ids=str)
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype:UserWarning")
def test_refuses_a_nested_tensor(layout: torch.layout):
    pieces = [torch.randn(3, 12), torch.randn(2, 12)]
    with pytest.raises(ShapeError, match="`hidden_states` must be a padded tensor"):
        layer()(torch.nested.nested_tensor(pieces, layout=layout))


class Reader(nn.Module):
    """A layer that goes on from a state, with tensors for arguments and results."""

    def __init__(self) -> None:
        super().__init__()
        self.mamba = layer()

    def forward(self, x: Tensor, window: Tensor, ssm_state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, state = self.mamba(x, state=MambaState(window, ssm_state), return_state=True)
        return y, *state


def operators(targets: Iterable[object]) -> list[str]:
    return [str(target) for target in targets if "mambacl" in str(target)]


@pytest.mark.filterwarnings("ignore:`torch.jit.:DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_an_export_to_onnx_sees_operations_of_torch(monkeypatch: pytest.MonkeyPatch):
    """What both exporters of torch trace; a test of their files would need the package onnx."""
    reader, x = Reader(), tokens(4)
    state = [tensor.detach() for tensor in reader.mamba(tokens(5), return_state=True)[1]]
    want = reader(x, *state)
    for onnx, count in ((False, 2), (True, 0)):
        monkeypatch.setattr("torch.onnx.is_in_onnx_export", lambda onnx=onnx: onnx)
        program = torch.export.export(reader, (x, *state), strict=False)
        assert len(operators(node.target for node in program.graph.nodes)) == count
        traced = torch.jit.trace(reader, (x, *state), check_trace=False)
        assert len(operators(node.kind() for node in traced.inlined_graph.nodes())) == count
        for exported in (program.module(), traced):
            for got, w in zip(exported(x, *state), want, strict=True):
                torch.testing.assert_close(got, w)
    # The older one passes every argument by place, and flags as tensors.
    assert torch.equal(reader.mamba(x, None, None, torch.tensor(False), None), reader.mamba(x))
