"""The engine's learner against the same computation by hand: `nn.Mamba` and plain torch, same weights."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mambacl import Learner, MambaMixer, SequenceConfig, VectorEncoder
from mambacl.config import ClassTarget
from mambacl.nn import Mamba
from small_learners import DIM, VOCAB

D_MODEL, LAYERS = 16, 2
CONFIG = SequenceConfig(
    VectorEncoder(DIM), ClassTarget(VOCAB), mixer=MambaMixer(d_state=4), d_model=D_MODEL, n_layer=LAYERS
)


def part(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def by_hand(learner: Learner, codebook: Tensor, x: Tensor, y: Tensor, queries: Tensor) -> Tensor:
    """Logits by label, each query answered alone after the whole stream."""
    weights = dict(learner.state_dict())

    def norm(name: str, tokens: Tensor) -> Tensor:
        return F.rms_norm(tokens, (D_MODEL,), weights[f"{name}.weight"], 1e-5)

    def encode(inputs: Tensor) -> Tensor:
        encoder = part(weights, "encoder.layers.0.")
        plain = inputs @ encoder["linear.weight"].T
        scale = (encoder["norm.running_var"] + 1e-5).rsqrt() * encoder["norm.weight"]
        return (plain - encoder["norm.running_mean"]) * scale + encoder["norm.bias"]

    layers = []
    for index in range(LAYERS):
        layer = Mamba(D_MODEL, d_state=4, dtype=x.dtype)
        layer.load_state_dict(part(weights, f"backbone.layers.{index}.mixer."))
        layers.append(layer)

    symbols = weights["target_embedding.weight"][codebook.gather(1, y)]
    stream = torch.stack([encode(x), symbols], 2).flatten(1, 2)
    answers = []
    for query in encode(queries).unbind(1):
        tokens = torch.cat([stream, query.unsqueeze(1)], 1)
        for index, layer in enumerate(layers):
            tokens = tokens + layer(norm(f"backbone.layers.{index}.norm", tokens))
        answers.append(norm("backbone.norm_f", tokens[:, -1]))
    logits = F.linear(torch.stack(answers, 1), weights["head.weight"], weights["head.bias"])
    return logits.gather(2, codebook.unsqueeze(1).expand_as(logits))


def test_the_learner_is_what_it_says():
    learner = Learner(CONFIG, seed=3).double().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for buffer in learner.buffers():  # statistics that are not the first ones
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    x, queries = (torch.randn(2, n, DIM, generator=generator).double() for n in (6, 3))
    y = torch.randint(VOCAB, (2, 6), generator=generator)
    state = learner.init_state(2, seed=5)
    assert state.codebook is not None
    with torch.no_grad():
        expected = by_hand(learner, state.codebook, x, y, queries)
        got = learner.predict(learner.observe(state, x, y), queries)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-11)
