"""The learner as an `nn.Module`: names, first values, and what PyTorch's tools do with it."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mambacl import AngleTarget, CnnEncoder, Learner, PrototypeConfig, SequenceConfig, VectorEncoder
from mambacl.errors import DeviceError
from small_learners import CONFIG, DIM, assert_same, small_config, small_episode, small_learner, tensors

NAMES = """
encoder.layers.0.linear.weight 6 5
encoder.layers.0.norm.weight 6 undecayed
encoder.layers.0.norm.bias 6 undecayed
encoder.layers.0.norm.running_mean 6 buffer
encoder.layers.0.norm.running_var 6 buffer
encoder.layers.1.linear.weight 8 6
encoder.layers.1.norm.weight 8 undecayed
encoder.layers.1.norm.bias 8 undecayed
encoder.layers.1.norm.running_mean 8 buffer
encoder.layers.1.norm.running_var 8 buffer
target_embedding.weight 8 8
head.weight 8 8
head.bias 8 undecayed
backbone.layers.0.norm.weight 8 undecayed
backbone.layers.0.mixer.A_log 16 4 undecayed
backbone.layers.0.mixer.D 16 undecayed
backbone.layers.0.mixer.in_proj.weight 32 8
backbone.layers.0.mixer.conv1d.weight 16 1 3
backbone.layers.0.mixer.conv1d.bias 16 undecayed
backbone.layers.0.mixer.x_proj.weight 9 16
backbone.layers.0.mixer.dt_proj.weight 16 1
backbone.layers.0.mixer.dt_proj.bias 16 undecayed
backbone.layers.0.mixer.out_proj.weight 8 16
backbone.layers.1.norm.weight 8 undecayed
backbone.layers.1.mixer.A_log 16 4 undecayed
backbone.layers.1.mixer.D 16 undecayed
backbone.layers.1.mixer.in_proj.weight 32 8
backbone.layers.1.mixer.conv1d.weight 16 1 3
backbone.layers.1.mixer.conv1d.bias 16 undecayed
backbone.layers.1.mixer.x_proj.weight 9 16
backbone.layers.1.mixer.dt_proj.weight 16 1
backbone.layers.1.mixer.dt_proj.bias 16 undecayed
backbone.layers.1.mixer.out_proj.weight 8 16
backbone.norm_f.weight 8 undecayed
"""
"""Name, shape, and role where it is another than decayed."""

SPECS = [line.split() for line in NAMES.split("\n") if line]


def test_names_and_shapes_are_pinned():
    want = {name: tuple(int(part) for part in rest if part.isdigit()) for name, *rest in SPECS}
    assert {name: tuple(t.shape) for name, t in Learner(CONFIG).state_dict().items()} == want


def test_names_of_the_other_encoder_and_target():
    config = SequenceConfig(CnnEncoder(image_size=8, channels=(4, 6)), AngleTarget(), d_model=8, n_layer=1)
    names = [name for name in Learner(config).state_dict() if not name.startswith("backbone")]
    norm = ["norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"]
    assert names == [
        *(f"encoder.layers.0.{name}" for name in ["conv.weight", *norm]),
        *(f"encoder.layers.1.{name}" for name in ["conv.weight", *norm]),
        *(f"encoder.projection.{name}" for name in ["linear.weight", *norm]),
        *(f"target_embedding.{part}.{name}" for part in ("hidden", "output") for name in ("weight", "bias")),
        "head.weight",
        "head.bias",
    ]


def test_buffers_and_parameters_to_decay():
    learner = Learner(CONFIG)
    roles = {name: rest[-1] if not rest[-1].isdigit() else "decayed" for name, *rest in SPECS}
    assert [name for name, _ in learner.named_buffers()] == [
        n for n, role in roles.items() if role == "buffer"
    ]
    names = {id(parameter): name for name, parameter in learner.named_parameters()}
    decayed, undecayed = learner.parameter_groups(0.1)
    assert (decayed["weight_decay"], undecayed["weight_decay"]) == (0.1, 0.0)
    for group, role in ((decayed, "decayed"), (undecayed, "undecayed")):
        assert {names[id(p)] for p in group["params"]} == {n for n, r in roles.items() if r == role}


def test_first_values_are_golden():
    """The same seed gives these very numbers in Rust and in Python, on every machine."""
    values = Learner(CONFIG, seed=0).state_dict()
    golden = {
        "encoder.layers.0.linear.weight": [-0.09402959793806076, 0.14674535393714905, -0.21479153633117676],
        "encoder.layers.0.norm.running_var": [1.0, 1.0, 1.0],
        "target_embedding.weight": [0.24559929966926575, 0.8304805159568787, -0.901449978351593],
        "head.bias": [0.12007293850183487, 0.07647263258695602, 0.13821838796138763],
        "backbone.layers.0.mixer.A_log": [-2.3025851249694824] * 3,
        "backbone.layers.0.mixer.D": [1.0, 1.0, 1.0],
        "backbone.layers.0.mixer.dt_proj.bias": [-3.878915548324585, -3.422217607498169, -4.993341445922852],
        "backbone.layers.1.mixer.in_proj.weight": [
            -0.195285826921463,
            -0.3277071714401245,
            -0.23021052777767181,
        ],
    }
    for name, numbers in golden.items():
        torch.testing.assert_close(values[name].flatten()[:3], torch.tensor(numbers), rtol=1e-6, atol=0)


def test_first_values_depend_on_the_seed():
    assert_same(tensors(Learner(CONFIG, seed=3)), tensors(Learner(CONFIG, seed=3)))
    one, other = tensors(Learner(CONFIG, seed=3)), tensors(Learner(CONFIG, seed=2**64 - 1))
    random = [name for name in one if not torch.equal(one[name], other[name])]
    assert {name for name in one if name.endswith(("proj.weight", "linear.weight"))} <= set(random)


def test_building_draws_nothing_from_torch():
    before = torch.get_rng_state()
    Learner(CONFIG)
    assert torch.equal(torch.get_rng_state(), before)


def test_state_dict_round_trip():
    one, other, episode = small_learner(seed=1), small_learner(seed=2), small_episode()
    assert not torch.equal(one.eval()(episode).output, other.eval()(episode).output)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(episode).output, other(episode).output)


def test_a_wrong_state_dict_is_refused():
    values = small_learner().state_dict()
    with pytest.raises(RuntimeError, match=r"size mismatch for encoder\.layers\.1\.linear\.weight"):
        Learner(small_config(d_model=16)).load_state_dict(values)
    del values["head.bias"]
    with pytest.raises(RuntimeError, match=r"Missing key.*head\.bias"):
        small_learner().load_state_dict(values)


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, lambda learner: pickle.loads(pickle.dumps(learner))],
    ids=["deepcopy", "pickle"],
)
def test_copies_are_alike_and_apart(duplicate):
    learner, episode = small_learner().eval(), small_episode()
    want = learner(episode).output
    other = duplicate(learner)
    assert other.config == learner.config
    assert not other.training
    assert torch.equal(other(episode).output, want)
    with torch.no_grad():
        for tensor in other.state_dict().values():
            tensor.add_(0.1)
    assert not torch.equal(other(episode).output, want)
    assert torch.equal(learner(episode).output, want)
    assert [len(g["params"]) for g in other.parameter_groups(0.1)] == [
        len(g["params"]) for g in learner.parameter_groups(0.1)
    ]


def test_a_copy_trains_its_own_parameters():
    learner = small_learner().train()
    other = copy.deepcopy(learner)
    other(small_episode()).loss.backward()
    assert all(parameter.grad is None for parameter in learner.parameters())
    assert all(parameter.grad is not None for parameter in other.parameters())
    assert_same(tensors(learner), tensors(small_learner()))


def test_double_computes_in_double():
    learner, episode = small_learner().eval(), small_episode()
    want = learner(episode).output
    learner.double()
    wide = dataclasses.replace(episode, train_x=episode.train_x.double(), test_x=episode.test_x.double())
    got = learner(wide).output
    assert got.dtype == torch.float64
    state = learner.observe(learner.init_state(2), wide.train_x, wide.train_y)
    assert {layer.ssm_state.dtype for layer in state.layers} == {torch.float64}
    torch.testing.assert_close(got.float(), want, rtol=1e-4, atol=1e-5)
    again = learner.float()(episode).output
    torch.testing.assert_close(again, want, rtol=0, atol=0)


def test_to_meta_and_back_through_to_empty():
    learner = small_learner().to("meta")
    assert learner.device.type == "meta"
    for use in (learner.init_state, learner.to_bytes):
        with pytest.raises(DeviceError, match=r"must be on a device that holds numbers, got .*meta"):
            use()
    learner.to_empty(device="cpu")
    learner.load_state_dict(small_learner().state_dict())
    assert_same(tensors(learner), tensors(small_learner()))


def test_an_optimiser_trains_every_parameter_and_no_buffer():
    learner = small_learner().eval()
    before = tensors(learner)
    optimiser = torch.optim.AdamW(learner.parameter_groups(0.1), lr=1e-2)
    learner(small_episode()).loss.backward()
    optimiser.step()
    same = [name for name, tensor in tensors(learner).items() if torch.equal(tensor, before[name])]
    assert same == [name for name, _ in learner.named_buffers()]


def test_functional_call_computes_with_the_tensors_passed():
    learner, episode = small_learner().eval(), small_episode()
    own = learner(episode).output
    passed = {
        name: (parameter.detach() + 0.05).requires_grad_() for name, parameter in learner.named_parameters()
    }
    result = torch.func.functional_call(learner, passed, (episode,))
    assert not torch.allclose(result.output, own)
    assert all(
        gradient.abs().max() > 0 for gradient in torch.autograd.grad(result.loss, list(passed.values()))
    )
    assert torch.equal(learner(episode).output, own)
    other = small_learner()
    other.load_state_dict({**other.state_dict(), **{name: t.detach() for name, t in passed.items()}})
    assert torch.equal(other.eval()(episode).output, result.output)


def test_functional_call_updates_the_buffers_passed():
    learner, episode = small_learner().train(), small_episode()
    before = tensors(learner)
    buffers = {name: buffer.clone() for name, buffer in learner.named_buffers()}
    torch.func.functional_call(learner, buffers, (episode,))
    assert_same(tensors(learner), before)
    assert not any(torch.equal(buffer, before[name]) for name, buffer in buffers.items())


def test_averaged_model_holds_the_moving_average():
    learner, episode = small_learner().train(), small_episode()
    average = AveragedModel(learner, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    first = tensors(learner)
    average.update_parameters(learner)
    with torch.no_grad():
        for tensor in learner.state_dict().values():
            tensor.add_(1.0)
    average.update_parameters(learner)
    want = small_learner()
    want.load_state_dict({name: tensor + 0.1 for name, tensor in first.items()})
    average.eval()
    torch.testing.assert_close(average(episode).output, want.eval()(episode).output, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(average(episode).output, learner.eval()(episode).output, rtol=1e-2)


def test_hooks_and_repr_work():
    learner, called = small_learner().eval(), []
    learner.register_forward_hook(lambda module, args, output: called.append(output.loss.item()))
    learner(small_episode())
    assert len(called) == 1
    parameters = sum(parameter.numel() for parameter in learner.parameters())
    told = f"parameters={parameters:,}, device=cpu)"
    assert repr(learner) == f"Learner(sequence, mixer=mamba, d_model=8, {told}"
    prototype = Learner(PrototypeConfig(VectorEncoder(DIM)))
    assert repr(prototype).startswith("Learner(prototype, d_model=128, parameters=")
    assert learner.get_parameter("encoder.layers.0.linear.weight").shape == (6, DIM)


def test_settings_that_are_none_are_told_by_their_argument():
    config: Any = {"d_model": 32}
    with pytest.raises(TypeError, match="`config` must be of type LearnerConfig, got dict"):
        Learner(config)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_is_a_break_in_a_compiled_graph():
    """torch.compile leaves the engine as it is, and compiles what stands around it."""
    learner, episode = small_learner().eval(), small_episode()

    def scaled(scale: Tensor) -> Tensor:
        return learner(episode).loss * scale.sin()

    def answers(x: Tensor) -> Tensor:
        state = learner.init_state(codebook=episode.codebook)
        return learner.predict(learner.observe(state, 2 * x, episode.train_y), episode.test_x).relu()

    scale = torch.tensor(2.0)
    assert torch.equal(torch.compile(scaled, backend="eager")(scale), scaled(scale))
    with torch.no_grad():
        compiled = torch.compile(answers, backend="eager")(episode.train_x)
        assert torch.equal(compiled, answers(episode.train_x))
