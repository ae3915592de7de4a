"""Learners with Gated DeltaNet: equal to transformers' layer, in answers, memory and all gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F
from transformers import Qwen3NextConfig
from transformers.models.qwen3_next.modeling_qwen3_next import (
    Qwen3NextGatedDeltaNet,
    torch_chunk_gated_delta_rule,
)

from mambacl import Episode, GatedDeltaNetMixer, Learner, Selectivity
from small_learners import small_episode, small_learner

HEADS, D_KEY, D_VALUE, D_MODEL = 2, 3, 5, 8
MIXER = GatedDeltaNetMixer(n_head=HEADS, d_key=D_KEY, d_value=D_VALUE)


def one_layer() -> Learner:
    return small_learner(mixer=MIXER, n_layer=1, selectivity=None).eval()


def theirs() -> Qwen3NextGatedDeltaNet:
    config = Qwen3NextConfig(
        hidden_size=D_MODEL,
        linear_num_key_heads=HEADS,
        linear_num_value_heads=HEADS,
        linear_key_head_dim=D_KEY,
        linear_value_head_dim=D_VALUE,
        linear_conv_kernel_dim=MIXER.d_conv,
        rms_norm_eps=1e-5,
        num_hidden_layers=1,
    )
    return Qwen3NextGatedDeltaNet(config, layer_idx=0)


def as_theirs(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors under their names: projections that go together are one, head by head."""
    heads = [
        weights[f"{name}_proj.weight"].view(HEADS, size, D_MODEL)
        for name, size in [("q", D_KEY), ("k", D_KEY), ("v", D_VALUE), ("g", D_VALUE)]
    ]
    taps = [weights[f"{name}_conv1d.weight"] for name in ("q", "k", "v")]
    scalars = [weights[f"{name}_proj.weight"] for name in ("b", "a")]
    return {
        "in_proj_qkvz.weight": torch.cat(heads, 1).flatten(0, 1),
        "in_proj_ba.weight": torch.stack(scalars, 1).flatten(0, 1),
        "conv1d.weight": torch.cat(taps),
        "A_log": weights["A_log"],
        "dt_bias": weights["dt_bias"],
        "norm.weight": weights["o_norm.weight"],
        "out_proj.weight": weights["o_proj.weight"],
    }


def encoded(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    names = ["running_mean", "running_var", "weight", "bias"]
    for index in (0, 1):
        layer = f"encoder.layers.{index}"
        x = F.linear(x.relu() if index else x, weights[f"{layer}.linear.weight"])
        norm = [weights[f"{layer}.norm.{name}"] for name in names]
        x = F.batch_norm(x.flatten(0, 1), *norm).view(x.shape)
    return x


def stream(weights: dict[str, Tensor], episode: Episode) -> Tensor:
    """The tokens of the examples, (batch, 2n, d_model)."""
    assert episode.codebook is not None
    inputs = encoded(weights, episode.train_x)
    targets = F.embedding(episode.codebook.gather(1, episode.train_y), weights["target_embedding.weight"])
    return torch.stack([inputs, targets], 2).flatten(1, 2)


def answers(weights: dict[str, Tensor], episode: Episode) -> Tensor:
    """What a learner answers, with their layer in place of the engine's: logits by label."""
    assert episode.codebook is not None
    examples, queries = stream(weights, episode), encoded(weights, episode.test_x)
    mixer, prefix = theirs(), "backbone.layers.0.mixer."
    own = as_theirs({name.removeprefix(prefix): tensor for name, tensor in weights.items()})

    def answer(query: Tensor) -> Tensor:
        tokens = torch.cat([examples, query.unsqueeze(1)], 1)
        normed = F.rms_norm(tokens, (D_MODEL,), weights["backbone.layers.0.norm.weight"], 1e-5)
        output = query + functional_call(mixer, own, (normed,))[:, -1]
        output = F.rms_norm(output, (D_MODEL,), weights["backbone.norm_f.weight"], 1e-5)
        return F.linear(output, weights["head.weight"], weights["head.bias"])

    symbols = torch.stack([answer(query) for query in queries.unbind(1)], 1)
    return symbols.gather(2, episode.codebook.unsqueeze(1).expand_as(symbols))


def with_gradients(answer: Callable[[], Tensor], weights: dict[str, Tensor]) -> dict[str, Tensor]:
    output = answer()
    weighting = torch.randn(output.shape, generator=torch.Generator().manual_seed(6))
    trained = {name: tensor for name, tensor in weights.items() if tensor.requires_grad}
    gradients = torch.autograd.grad((output * weighting).sum(), list(trained.values()))
    return {"answers": output.detach(), **dict(zip(trained, gradients, strict=True))}


def test_a_learner_answers_as_with_transformers_layer_and_has_its_gradients():
    learner, episode = one_layer(), small_episode(examples=50)
    weights = dict(learner.named_parameters()) | dict(learner.named_buffers())

    got = with_gradients(lambda: learner(episode).output, weights)
    want = with_gradients(lambda: answers(weights, episode), weights)
    assert got.keys() == want.keys()
    assert len(got) == 1 + len(list(learner.parameters()))
    for name in want:
        torch.testing.assert_close(got[name], want[name], rtol=1e-4, atol=2e-5, msg=name)


def test_its_memory_is_that_of_transformers_rule():
    learner, episode = one_layer(), small_episode(examples=50)
    with torch.no_grad():
        state = learner.observe(
            learner.init_state(2, codebook=episode.codebook), episode.train_x, episode.train_y
        )
        (layer,) = state.layers
        weights = learner.state_dict()
        tokens = F.rms_norm(
            stream(weights, episode), (D_MODEL,), weights["backbone.layers.0.norm.weight"], 1e-5
        )

        def of(name: str) -> Tensor:
            return weights[f"backbone.layers.0.mixer.{name}"]

        projected = [F.linear(tokens, of(f"{name}_proj.weight")) for name in ("q", "k", "v")]
        heads: list[Tensor] = []
        for name, x in zip(("q", "k", "v"), projected, strict=True):
            taps = of(f"{name}_conv1d.weight")
            y = F.conv1d(F.pad(x.mT, (MIXER.d_conv - 1, 0)), taps, groups=len(taps))
            heads.append(F.silu(y).mT.unflatten(-1, (HEADS, -1)))
        decay = -of("A_log").exp() * F.softplus(F.linear(tokens, of("a_proj.weight")) + of("dt_bias"))
        beta = F.linear(tokens, of("b_proj.weight")).sigmoid()
        _, memory = torch_chunk_gated_delta_rule(
            *heads, g=decay, beta=beta, output_final_state=True, use_qk_l2norm_in_kernel=True
        )
        assert memory is not None
        torch.testing.assert_close(layer.memory, memory, rtol=1e-4, atol=1e-5)
        window = torch.cat(projected, -1)[:, -(MIXER.d_conv - 1) :].mT
        torch.testing.assert_close(layer.conv_window, window, rtol=1e-4, atol=1e-5)


def test_every_association_guides_it():
    for association in ("content", "gated", "decayed"):
        learner = small_learner(mixer=MIXER, selectivity=Selectivity(association=association, layers="all"))
        output = learner.train()(small_episode(), 0)
        assert output.penalty is not None
        output.penalty.backward()
        for layer in (0, 1):
            gradient = learner.get_parameter(f"backbone.layers.{layer}.mixer.k_proj.weight").grad
            assert gradient is not None
            assert gradient.abs().max() > 0
