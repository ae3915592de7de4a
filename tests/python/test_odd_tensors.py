"""Every odd kind of tensor that torch has, for every tensor argument of everything exported: an answer or an
`Exception`, never a crash or a panic, and no valid number is blamed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.masked import masked_tensor
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import FlopCounterMode

from mambacl import Episode, _core
from mambacl.errors import DeviceError, DtypeError, InvalidValueError
from mambacl.nn import Mamba
from mambacl.ops import causal_conv1d, reference, selective_scan
from small_learners import VOCAB, small_episode, small_learner

pytestmark = pytest.mark.filterwarnings("ignore")  # of kinds that torch calls unfinished


class Logged(Tensor):
    """A wrapper without memory of its own, which computes with the tensor inside."""

    inner: Tensor

    @staticmethod
    def of(inner: Tensor) -> Tensor:
        outer = Tensor._make_wrapper_subclass(
            Logged, inner.shape, strides=inner.stride(), dtype=inner.dtype, device=inner.device
        )
        outer.inner = inner
        return outer

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args, kwargs = tree_map(lambda x: x.inner if isinstance(x, Logged) else x, (args, kwargs or {}))
        return func(*args, **kwargs)


class Sizeless(Tensor):
    """A wrapper that cannot tell its own sizes."""

    @staticmethod
    def of(like: Tensor) -> Tensor:
        return Tensor._make_wrapper_subclass(
            Sizeless, like.shape, dtype=like.dtype, dispatch_sizes_strides_policy="sizes"
        )

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise ArithmeticError("sizes are unknown")


def freed(tensor: Tensor) -> Tensor:
    copy = tensor.clone()
    copy.untyped_storage().resize_(0)
    return copy


def inference(tensor: Tensor) -> Tensor:
    with torch.inference_mode():
        return tensor.clone()


ODD: dict[str, Callable[[Tensor], Any]] = {
    "nested": lambda t: torch.nested.nested_tensor([t, t]),
    "jagged": lambda t: torch.nested.nested_tensor([t[0], t[1]], layout=torch.jagged),
    "coo": lambda t: t.to_sparse(),
    "csr": lambda t: t.to_sparse_csr(),
    "quantized": lambda t: torch.quantize_per_tensor(t.float(), 0.1, 0, torch.qint8),
    "mkldnn": lambda t: t.to_mkldnn(),
    "complex": lambda t: t.to(torch.complex64),
    "conjugate": lambda t: torch.complex(t, t).conj(),
    "bool": lambda t: t.bool(),
    "uint16": lambda t: t.to(torch.uint16),
    "float8": lambda t: t.to(torch.float8_e4m3fn),
    "meta": lambda t: t.to("meta"),
    "fake": lambda t: FakeTensorMode().from_tensor(t),
    "functional": lambda t: torch._to_functional_tensor(t),
    "masked": lambda t: masked_tensor(t, t > -9),
    "wrapper": Logged.of,
    "sizeless": Sizeless.of,
    "freed": freed,
    "inference": inference,
    "zeros without memory": lambda t: torch._efficientzerotensor(t.shape, dtype=t.dtype),
    "expanded": lambda t: t.new_ones(()).expand(t.shape),
    "no rows": lambda t: t[:0],
    "no columns": lambda t: t[..., :0],
    "a number": lambda t: t.sum(),
    "uninitialised": lambda t: torch.nn.UninitializedParameter(),
    "list": lambda t: t.tolist(),
}
UNFIT = ("nested", "jagged", "coo", "csr", "quantized", "mkldnn", "freed")


@cache
def calls() -> dict[str, tuple[Tensor, Callable[[Any], Any]]]:
    """By name: a sound argument, and a call that takes it or what stands for it."""
    found: dict[str, tuple[Tensor, Callable[[Any], Any]]] = {}

    def add(name: str, arguments: list[Tensor], call: Callable[..., Any]) -> None:
        for place, argument in enumerate(arguments):
            before, after = arguments[:place], arguments[place + 1 :]
            found[f"{name} {place}"] = (argument, lambda odd, b=before, a=after: call(*b, odd, *a))

    u, A, B = torch.randn(2, 4, 6), -torch.ones(6, 3), torch.randn(2, 4, 3)
    vector, state, lengths = torch.randn(6), torch.randn(2, 6, 3), torch.tensor([4, 2])
    scan = [u, u, A, B, B, vector, u, vector, state, lengths]
    for name, op in (("scan", selective_scan), ("reference scan", reference.selective_scan)):
        add(name, scan, lambda *a, op=op: op(*a[:8], True, a[8], True, a[9]))
    add("check of a scan", scan, lambda *a: _core.check_selective_scan(a))
    weight, window = torch.randn(6, 3), torch.randn(2, 6, 2)
    conv = [u, weight, vector, window, lengths]
    for name, op in (("convolution", causal_conv1d), ("reference convolution", reference.causal_conv1d)):
        add(name, conv, lambda *a, op=op: op(*a[:3], "silu", a[3], True, a[4]))
    add("check of a convolution", conv, lambda *a: _core.check_causal_conv1d(a, "silu"))
    layer = Mamba(6)
    add("Mamba", [u], lambda x: layer(x, return_state=True))
    add("Mamba.step", [u[:, :1], *layer.allocate_inference_cache(2, 4)], layer.step)

    learner, episode = small_learner().eval(), small_episode()
    x, y, codebook = episode.train_x, episode.train_y, episode.codebook
    begun = learner.init_state(codebook=codebook)
    read = learner.observe(begun, x, y).detach()
    _, trace = learner.observe_traced(begun, x, y)
    add("init_state", [codebook], lambda odd: learner.init_state(codebook=odd))
    add("observe", [x, y], lambda x, y: learner.observe(read, x, y))
    add("observe_traced", [x, y], lambda x, y: learner.observe_traced(read, x, y))
    add("predict", [x], lambda x: learner.predict(read, x, trace))
    add("associate", [x], lambda x: learner.associate(read, x, trace))
    add("loss", [learner.predict(read, x).detach(), y], learner.loss)
    add("episode", [x, y, x, y, codebook, y, y], lambda *a: small_learner().train()(Episode(*a)))
    engine = learner._engine
    tensors, held = [t.detach() for t in learner._tensors()], read.tensors()
    state_of = lambda a: (read.examples, list(a))  # noqa: E731
    add("state", held, lambda *a: engine.observe(tensors, state_of(a), x, y))
    add("state's file", held, lambda *a: _core.pack_state(engine, tensors, state_of(a), [8, 8]))
    add("parameters", tensors, lambda *a: engine.predict(list(a), state_of(held), x, None))
    add("learner's file", tensors, lambda *a: _core.pack_learner(engine, list(a)))
    add("fingerprint", tensors, lambda *a: _core.fingerprint(engine, list(a)))
    add("has_numbers", [x], _core.has_numbers)
    return found


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_tensor_is_answered_or_refused(kind: str):
    tried = 0
    for name, (sound, call) in calls().items():
        if kind == "freed" and name.startswith("Mamba"):
            continue  # torch's own operations read it first, and crash
        try:
            odd = ODD[kind](sound)
        except (RuntimeError, ValueError, TypeError, IndexError):
            continue  # torch has none of this shape or dtype
        tried += 1
        try:
            call(odd)
        except Exception as error:
            said = str(error)
        else:
            said = ""
            assert kind not in UNFIT, name
        assert "NaN or infinity" not in said, name
        assert "panicked" not in said, name
        assert torch.is_grad_enabled()
    assert tried > 0


@pytest.mark.parametrize("kind", UNFIT)
def test_what_the_engine_cannot_take_is_named(kind: str):
    learner, episode = small_learner().eval(), small_episode()
    x = episode.train_x[..., 0] if kind == "csr" else episode.train_x
    odd = ODD[kind](x)
    state = learner.init_state(2)
    for call in (
        lambda: learner.observe(state, odd, episode.train_y),
        lambda: causal_conv1d(odd, torch.ones(5, 2)),
        lambda: selective_scan(torch.ones(2, 8, 5), odd, -torch.ones(5, 2), x, x),
    ):
        with pytest.raises(InvalidValueError, match="dense"):
            call()


def test_lazy_views_and_wrappers_compute_as_what_they_stand_for():
    learner, episode = small_learner().eval(), small_episode()
    x, y = episode.train_x, episode.train_y
    with torch.no_grad():
        state = learner.observe(learner.init_state(2), x, y)
        want = learner.predict(state, x)
        for same in (
            torch._neg_view(-x),
            torch.complex(x, -x).conj().imag,
            Logged.of(x),
            x.mT.contiguous().mT,
            torch.nn.Parameter(x),
        ):
            after = learner.observe(learner.init_state(2), same, y)
            torch.testing.assert_close(learner.predict(after, x), want)
            torch.testing.assert_close(learner.predict(state, same), want)
        zeros = torch._efficientzerotensor(x.shape)
        torch.testing.assert_close(learner.predict(state, zeros), learner.predict(state, x * 0))


def test_numbers_are_checked_in_every_view_of_them():
    learner, episode = small_learner().eval(), small_episode()
    state, bad = learner.init_state(2), episode.train_x.clone()
    bad[1, 2, 3] = torch.nan
    leaf = bad.clone().requires_grad_()
    for x in (bad, torch._neg_view(bad), bad.mT.contiguous().mT, leaf):
        with pytest.raises(InvalidValueError, match="NaN or infinity"):
            learner.observe(state, x, episode.train_y)
    with pytest.raises(InvalidValueError, match=r"labels from -?\d+ to"):
        learner.observe(state, episode.train_x, torch._neg_view(episode.train_y + 1))
    half = small_learner().bfloat16().eval()
    with pytest.raises(InvalidValueError, match="NaN or infinity"):
        half.observe(half.init_state(2), bad.bfloat16(), episode.train_y)
    with FlopCounterMode(display=False), pytest.raises(InvalidValueError):
        learner.observe(state, bad, episode.train_y)


def test_parameters_of_other_types_are_named():
    learner = small_learner()
    for dtype in (torch.float8_e4m3fn, torch.complex64):
        with pytest.raises(DtypeError, match=r"parameters: argument `\S+` must have dtype float32"):
            small_learner().to(dtype).init_state(2)
    assert learner.init_state(2).batch_size == 2


def test_a_learner_on_meta_says_what_to_use_instead():
    with torch.device("meta"):
        learner = type(small_learner())(small_learner().config)
    for meta in (learner, small_learner().to("meta")):
        with pytest.raises(DeviceError, match=r"got meta.*FakeTensorMode"):
            meta.init_state(2)
        with pytest.raises(DeviceError, match="got meta"):
            meta(small_episode())
        with pytest.raises(DeviceError, match="holds numbers"):
            meta.to_bytes()
    learner = learner.to_empty(device="cpu")
    learner.load_state_dict(small_learner().state_dict())
    assert learner.fingerprint() == small_learner().fingerprint()


def test_another_default_device_changes_no_answer():
    learner, episode = small_learner().eval(), small_episode()
    x, y = episode.train_x, episode.train_y
    state = learner.observe(learner.init_state(2, seed=1), x, y)
    want = learner.predict(state, x)
    saved, file = learner.to_bytes(), learner.state_to_bytes(state.select([1, 0]))
    with torch.device("meta"):
        state = learner.observe(learner.init_state(2, seed=1), x, y)
        assert torch.equal(learner.predict(state, x), want)
        assert learner.state_to_bytes(state.select([1, 0])) == file
        assert state.examples_of_each().tolist() == [8, 8]
        again = type(learner).from_bytes(saved)
        read = again.state_from_bytes(file).select([1, 0])
        assert torch.equal(again.predict(read, x), want)
        assert again.init_state(2).codebook.shape == (2, VOCAB)
