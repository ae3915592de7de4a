"""What stands in the place of the Mamba layer's children takes part: the layer is its children composed."""

import copy
import io
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize, prune

from mambacl import MambaState
from mambacl.errors import ConfigError, DtypeError, InvalidValueError, ShapeError
from mambacl.nn import Mamba
from mambacl.ops import causal_conv1d, reference

PROJECTIONS = ("in_proj", "x_proj", "dt_proj", "out_proj")
CHILDREN = (*PROJECTIONS, "conv1d")


class Adapted(nn.Module):
    """A module and a low-rank change beside it, as in LoRA; shows its base's weights as its own."""

    def __init__(self, base: nn.Linear):
        super().__init__()
        self.base = base
        self.down = nn.Linear(base.in_features, 2, bias=False, dtype=base.weight.dtype)
        self.up = nn.Linear(2, base.out_features, bias=False, dtype=base.weight.dtype)

    @property
    def weight(self) -> Tensor:
        return self.base.weight

    @property
    def bias(self) -> Tensor | None:
        return self.base.bias

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.up(self.down(x))


class Scaled(nn.Module):
    """A module times a number of each channel."""

    def __init__(self, base: nn.Conv1d):
        super().__init__()
        self.base = base
        self.scale = nn.Parameter(torch.linspace(0.5, 2, base.out_channels, dtype=base.weight.dtype)[:, None])

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) * self.scale


class Trimmed(Scaled):
    """Gives as many steps as it reads."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[:, :, : x.shape[2]]


class Halved(nn.Module):
    """A parametrization."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight / 2


def layer(dtype: torch.dtype = torch.float64) -> Mamba:
    torch.manual_seed(0)
    mamba = Mamba(6, d_state=3, bias=True)
    with torch.no_grad():
        mamba.D.normal_()
    return mamba.to(dtype)


def tokens(length: int = 7, batch: int = 2) -> Tensor:
    return torch.randn(batch, length, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def composed(mamba: Mamba, x: Tensor, state: MambaState | None = None) -> tuple[Tensor, MambaState]:
    """The layer's equation over its children, each one called."""
    before = mamba.d_conv - 1
    inputs, z = mamba.in_proj(x).chunk(2, -1)
    window = inputs.new_zeros((x.shape[0], mamba.d_inner, before)) if state is None else state.conv_window
    extended = torch.cat([window.to(x.dtype), inputs.transpose(1, 2)], 2)
    u = F.silu(mamba.conv1d(extended)[:, :, before : before + x.shape[1]]).transpose(1, 2)
    dt, B, C = mamba.x_proj(u).split([mamba.dt_rank, mamba.d_state, mamba.d_state], -1)
    y, ssm_state = reference.selective_scan(
        *(u, mamba.dt_proj(dt), -mamba.A_log.exp(), B, C, mamba.D, z),
        delta_softplus=True,
        initial_state=None if state is None else state.ssm_state,
        return_final_state=True,
    )
    return mamba.out_proj(y), MambaState(extended[:, :, x.shape[1] :], ssm_state)


def put(mamba: Mamba, name: str) -> None:
    """Something whose weights do not say what it does, in a child's place."""
    base = getattr(mamba, name)
    setattr(mamba, name, Scaled(base) if name == "conv1d" else Adapted(base))


def double_output(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return 2 * output


def double_input(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (2 * inputs[0],)


def set_forward(child: nn.Module) -> None:
    """As accelerate does: the forward of one instance."""
    before = child.forward
    child.forward = lambda x: 3 * before(x)


CHANGES: dict[str, Callable[[Mamba, str], Any]] = {
    "wrapped": put,
    "forward hook": lambda m, name: getattr(m, name).register_forward_hook(double_output),
    "forward pre-hook": lambda m, name: getattr(m, name).register_forward_pre_hook(double_input),
    "own forward": lambda m, name: set_forward(getattr(m, name)),
    "parametrized": lambda m, name: parametrize.register_parametrization(
        getattr(m, name), "weight", Halved()
    ),
    "weight norm": lambda m, name: parametrizations.weight_norm(getattr(m, name)),
    "pruned": lambda m, name: prune.random_unstructured(getattr(m, name), "weight", 0.5),
}


@pytest.mark.parametrize("name", CHILDREN)
@pytest.mark.parametrize("change", CHANGES)
def test_is_its_children_composed(change: str, name: str):
    """At once, and from a state; with the gradient by the tokens, and by every parameter."""
    mamba, x = layer(), tokens().requires_grad_()
    plain = mamba(x).detach()
    CHANGES[change](mamba, name)

    def results(read: Callable[..., tuple[Tensor, MambaState]]) -> list[Tensor]:
        first, state = read(x[:, :3], state=None)
        rest, last = read(x[:, 3:], state=state)
        y = torch.cat([first, rest], 1)
        leaves = [x, *mamba.parameters()]
        gradients = torch.autograd.grad(y.square().sum(), leaves, materialize_grads=True)
        return [y, *last, *gradients]

    got, want = results(partial(mamba, return_state=True)), results(partial(composed, mamba))
    for g, w in zip(got, want, strict=True):
        torch.testing.assert_close(g, w)
    torch.testing.assert_close(mamba(x), want[0])
    if change != "weight norm":  # which changes no value
        assert not torch.allclose(got[0], plain)


def test_all_children_replaced_at_once_read_in_steps_and_caches():
    mamba, x = layer(), tokens()
    for name in CHILDREN:
        put(mamba, name)
    want, state = composed(mamba, x)
    caches = mamba.allocate_inference_cache(2, 7)
    assert {cache.dtype for cache in caches} == {torch.float64}
    steps = [mamba.step(x[:, t : t + 1], *caches)[0] for t in range(7)]
    torch.testing.assert_close(torch.cat(steps, 1), want)
    torch.testing.assert_close(caches[0][:, :, 1:], state.conv_window)
    torch.testing.assert_close(caches[1], state.ssm_state)
    # Several sequences continue one state.
    more = tokens(3, batch=4)
    repeated = MambaState(*(tensor.repeat_interleave(2, 0) for tensor in state))
    torch.testing.assert_close(mamba(more, state=state), composed(mamba, more, repeated)[0])


@pytest.mark.parametrize("replacement", [Scaled, Trimmed])
def test_lengths_stop_a_replaced_convolution(replacement: type[Scaled]):
    mamba, x = layer(), tokens(batch=3)
    mamba.conv1d = replacement(mamba.conv1d)  # pyright: ignore[reportAttributeAccessIssue]
    lengths = torch.tensor([7, 0, 2])
    _, before = mamba(tokens(4, batch=3), return_state=True)
    for state in (None, before):
        y, after = mamba(x, state=state, return_state=True, lengths=lengths)
        for row, length in enumerate(lengths.tolist()):
            own = None if state is None else MambaState(*(tensor[row : row + 1] for tensor in state))
            want, last = composed(mamba, x[row : row + 1, :length], own)
            torch.testing.assert_close(y[row : row + 1, :length], want)
            for g, w in zip(after, last, strict=True):
                torch.testing.assert_close(g[row : row + 1], w)
    x[2, 2:] = 1e300  # overflows within the convolution: padding must not pass through
    assert mamba(x, lengths=lengths)[2, :2].isfinite().all()


@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_dynamic_quantisation():
    mamba = layer(torch.float32)
    quantised = torch.ao.quantization.quantize_dynamic(copy.deepcopy(mamba), {nn.Linear}, dtype=torch.qint8)
    assert all(type(getattr(quantised, name)) is not nn.Linear for name in PROJECTIONS)
    x = tokens().float()
    want = composed(quantised, x)[0]
    torch.testing.assert_close(quantised(x), want)
    torch.testing.assert_close(want, mamba(x), rtol=0.2, atol=0.1)
    caches = quantised.allocate_inference_cache(2, 7)
    steps = [quantised.step(x[:, t : t + 1], *caches)[0] for t in range(7)]
    torch.testing.assert_close(torch.cat(steps, 1), want, rtol=0.1, atol=0.02)  # its scales are each step's


@pytest.mark.parametrize("change", ["wrapped", "forward hook", "forward pre-hook"])
def test_copies_files_and_functional_calls_keep_what_replaces_a_child(change: str):
    mamba, x = layer(), tokens()
    for name in CHILDREN:
        CHANGES[change](mamba, name)
    want = composed(mamba, x)[0]
    torch.testing.assert_close(copy.deepcopy(mamba)(x), want)
    torch.testing.assert_close(pickle.loads(pickle.dumps(mamba))(x), want)
    file = io.BytesIO()
    torch.save(mamba, file)
    file.seek(0)
    torch.testing.assert_close(torch.load(file, weights_only=False)(x), want)
    other = {name: 0.5 * parameter for name, parameter in mamba.named_parameters()}
    called = torch.func.functional_call(mamba, other, (x,))
    mamba.load_state_dict(other)
    torch.testing.assert_close(called, composed(mamba, x)[0])


def test_hooks_of_all_modules_and_of_gradients_are_called():
    mamba, x, seen = layer(), tokens(), []
    plain = mamba(x)
    hook = nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(module))
    try:
        torch.testing.assert_close(mamba(x), plain)
    finally:
        hook.remove()
    assert {id(getattr(mamba, name)) for name in CHILDREN} <= {id(module) for module in seen}
    seen.clear()
    for name in CHILDREN:
        getattr(mamba, name).register_full_backward_hook(lambda module, *_: seen.append(module))
    mamba(x.requires_grad_()).sum().backward()
    assert {id(getattr(mamba, name)) for name in CHILDREN} == {id(module) for module in seen}


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")  # Dynamo
def test_compiles_to_one_graph_and_is_exported():
    torch.compiler.reset()
    mamba, x = layer(), tokens()
    for name in CHILDREN:
        put(mamba, name)
    mamba.dt_proj.register_forward_hook(double_output)
    want = composed(mamba, x)[0]
    compiled = torch.compile(mamba, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), want)
    torch.testing.assert_close(torch.export.export(mamba, (x,)).module()(x), want)


def test_autocast():
    mamba, x = layer(torch.float32), tokens().float()
    for name in CHILDREN:
        put(mamba, name)
    want = mamba(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got, state = mamba(x, return_state=True)
    assert (got.dtype, {tensor.dtype for tensor in state}) == (torch.bfloat16, {torch.float32})
    torch.testing.assert_close(got.float(), want, rtol=0, atol=0.05 * want.abs().max().item())


@pytest.mark.parametrize("name", PROJECTIONS)
@pytest.mark.parametrize("wrong", ["narrower", "flat", "a pair"])
def test_refuses_a_projection_of_another_form(name: str, wrong: str):
    mamba = layer(torch.float32)
    inputs = getattr(mamba, name).in_features
    modules = {"narrower": nn.Identity(), "flat": nn.Flatten(), "a pair": nn.LSTM(inputs, inputs)}
    setattr(mamba, name, modules[wrong])
    with pytest.raises(ShapeError, match=f"module `{name}` .* must return a tensor of shape .batch, length"):
        mamba(tokens().float())


def test_refuses_a_convolution_that_is_not_causal():
    def convolution(**settings: Any) -> nn.Conv1d:
        return nn.Conv1d(12, 12, **{"kernel_size": 4, "groups": 12, "padding": 3, **settings}).double()

    mamba, x = layer(), tokens()
    wrong: list[dict[str, Any]] = [{"padding": padding} for padding in (0, 1, "same")]
    wrong += [{"stride": 2}, {"dilation": 2}, {"kernel_size": 3}, {"padding_mode": "circular"}]
    for settings in wrong:
        mamba.conv1d = convolution(**settings)
        with pytest.raises(ConfigError, match="module `conv1d` must be causal over 4 inputs"):
            mamba(x)
    mamba.conv1d = nn.Sequential(convolution(padding=0))  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ShapeError, match=r"module `conv1d` \(Sequential\) must return"):
        mamba(x)
    # One that mixes channels is called.
    mamba.conv1d = convolution(groups=1)
    torch.testing.assert_close(mamba(x), composed(mamba, x)[0])


def test_refuses_what_does_not_fit_beside_a_replaced_convolution():
    mamba, x = layer(), tokens()
    put(mamba, "conv1d")
    ssm_state = torch.zeros(2, 12, 3, dtype=torch.float64)
    for window in (torch.zeros(2, 12, 2), torch.zeros(3, 12, 3), torch.zeros(0, 12, 3), torch.zeros(12, 3)):
        with pytest.raises(ShapeError, match="`initial_window`"):
            mamba(x, state=MambaState(window.double(), ssm_state))
    with pytest.raises(DtypeError, match="`initial_window`"):
        mamba(x, state=MambaState(torch.zeros(2, 12, 3, dtype=torch.int64), ssm_state))
    with pytest.raises(ShapeError, match="`lengths`"):
        mamba(x, lengths=torch.tensor([1]))
    with pytest.raises(DtypeError, match="`lengths`"):
        mamba(x, lengths=torch.tensor([1.0, 2.0]))
    with pytest.raises(InvalidValueError, match="got values from 1 to 8"):
        mamba(x, lengths=torch.tensor([1, 8]), return_state=True)


def test_a_plain_convolution_is_the_fused_one(monkeypatch: pytest.MonkeyPatch):
    calls: list[str | None] = []

    def counted(*arguments: Any, **options: Any) -> Any:
        calls.append(options["activation"])
        return causal_conv1d(*arguments, **options)

    monkeypatch.setattr("mambacl.nn.mamba.causal_conv1d", counted)
    mamba = layer()
    mamba(tokens())
    parametrizations.weight_norm(mamba.conv1d)
    mamba(tokens())
    assert calls == ["silu", "silu"]
    put(mamba, "conv1d")
    mamba(tokens())
    assert len(calls) == 2
