"""A learner with Mamba-2 against transformers' Mamba2Mixer between the same embedding, norms and head."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Mamba2Config
from transformers.models.mamba2 import modeling_mamba2

from mambacl import Learner, Mamba2Mixer, SequenceConfig, VectorEncoder
from mambacl.config import ClassTarget

D_MODEL, DIM, VOCAB = 12, 5, 8


def learner() -> Learner:
    """Of two layers, every parameter of which matters."""
    mixer = Mamba2Mixer(d_state=6, headdim=8, d_conv=3, expand=2)
    config = SequenceConfig(
        encoder=VectorEncoder(DIM),
        target=ClassTarget(VOCAB),
        d_model=D_MODEL,
        n_layer=2,
        mixer=mixer,
        selectivity=None,
    )
    learner = Learner(config).double().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in learner.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.add_(0.2 * noise)
    return learner


def upstream(layer: nn.Module) -> nn.Module:
    """transformers' mixer with a layer's weights, found by their names."""
    mixer = layer.get_submodule("mixer")
    heads = mixer.get_parameter("D").numel()
    config = Mamba2Config(
        hidden_size=D_MODEL,
        num_heads=heads,
        head_dim=2 * D_MODEL // heads,
        state_size=6,
        conv_kernel=3,
        expand=2,
        n_groups=1,
        chunk_size=16,
        use_bias=False,
        use_conv_bias=True,
        num_hidden_layers=1,
    )
    theirs = modeling_mamba2.Mamba2Mixer(config, layer_idx=0).double().eval()
    theirs.load_state_dict(mixer.state_dict())
    return theirs


def rms_norm(x: Tensor, layer: nn.Module) -> Tensor:
    return F.rms_norm(x, (D_MODEL,), layer.get_parameter("weight"), 1e-5)


# Upstream computes the recurrence in float32.
def test_equals_transformers_in_answers_and_all_gradients():
    ours = learner()
    layers = [ours.get_submodule(f"backbone.layers.{index}") for index in range(2)]
    mixers = nn.ModuleList(upstream(layer) for layer in layers)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 40, DIM, generator=generator, dtype=torch.float64, requires_grad=True)
    y = torch.randint(0, VOCAB, (2, 40), generator=generator)
    question = torch.randn(2, 1, DIM, generator=generator, dtype=torch.float64, requires_grad=True)
    codebook = torch.arange(VOCAB).expand(2, VOCAB)

    state = ours.observe(ours.init_state(codebook=codebook), x, y)
    got = ours.predict(state, question)

    encoder = ours.get_submodule("encoder.layers.0")
    norm = encoder.get_submodule("norm")

    def encode(inputs: Tensor) -> Tensor:
        mapped = F.linear(inputs, encoder.get_parameter("linear.weight")).flatten(0, 1)
        moments = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
        return F.batch_norm(
            mapped, *moments, norm.get_parameter("weight"), norm.get_parameter("bias")
        ).unflatten(0, inputs.shape[:2])

    symbols = F.embedding(y, ours.get_parameter("target_embedding.weight"))
    stream = torch.stack([encode(x), symbols], 2).flatten(1, 2)
    tokens = torch.cat([stream, encode(question)], 1)
    for layer, mixer in zip(layers, mixers, strict=True):
        tokens = tokens + mixer(rms_norm(tokens, layer.get_submodule("norm")))
    answer = rms_norm(tokens[:, -1:], ours.get_submodule("backbone.norm_f"))
    want = F.linear(answer, ours.get_parameter("head.weight"), ours.get_parameter("head.bias"))

    torch.testing.assert_close(got, want, rtol=0, atol=2e-6 * want.abs().max().item())
    weight = torch.randn(want.shape, generator=generator, dtype=torch.float64)
    names, parameters = zip(*ours.named_parameters(), strict=True)
    theirs = [
        mixers[int(name.split(".")[2])].get_parameter(name.split(".mixer.")[1])
        if ".mixer." in name
        else parameter
        for name, parameter in zip(names, parameters, strict=True)
    ]
    by_ours = torch.autograd.grad((got * weight).sum(), [x, question, *parameters])
    by_theirs = torch.autograd.grad((want * weight).sum(), [x, question, *theirs])
    for name, mine, other in zip(("x", "question", *names), by_ours, by_theirs, strict=True):
        assert other.any(), name
        torch.testing.assert_close(
            mine,
            other,
            rtol=0,
            atol=1e-5 * other.abs().max().item(),
            msg=lambda text, name=name: f"{name}: {text}",
        )


@pytest.mark.parametrize("headdim", [0, 5])
def test_a_head_that_does_not_divide_is_refused(headdim: int):
    with pytest.raises(ValueError, match=r"mixer\.headdim"):
        Learner(SequenceConfig(VectorEncoder(DIM), d_model=D_MODEL, mixer=Mamba2Mixer(headdim=headdim)))
