"""Prototypes, GeMCL and sequential Bayes against plain computations of what they are, in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from mambacl import (
    BayesConfig,
    ClassTarget,
    GemclConfig,
    Learner,
    LearnerConfig,
    LearnerState,
    PrototypeConfig,
    VectorEncoder,
    VectorTarget,
)
from mambacl.bench.memory import process_bytes
from mambacl.errors import ConfigError

DIM, D_MODEL, VOCAB, EXAMPLES = 5, 6, 4, 11
ENCODER, TARGET = VectorEncoder(dim=DIM), ClassTarget(vocab=VOCAB)

Array = NDArray[np.float64]


def parameters(learner: Learner) -> dict[str, Array]:
    return {name: value.detach().numpy() for name, value in learner.state_dict().items()}


def encoded(learner: Learner, x: torch.Tensor) -> Array:
    """What the encoder makes of inputs, with its first running statistics: mean 0, variance 1."""
    return x.numpy() @ parameters(learner)["encoder.layers.0.linear.weight"].T / np.sqrt(1 + 1e-5)


def learner_of(config: LearnerConfig) -> Learner:
    return Learner(config, seed=3).double().eval()


def stream(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """One stream of unequal classes, the last label never shown; queries; a codebook that renames."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, EXAMPLES, DIM, generator=generator, dtype=torch.float64)
    queries = torch.randn(1, 3, DIM, generator=generator, dtype=torch.float64)
    return x, torch.tensor([[0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2]]), queries, torch.tensor([[2, 0, 3, 1]])


def logits(learner: Learner) -> Array:
    """(queries, labels), read in three pieces."""
    x, y, queries, codebook = stream()
    state = learner.init_state(codebook=codebook)
    for piece in (slice(0, 1), slice(1, 8), slice(8, EXAMPLES)):
        state = learner.observe(state, x[:, piece], y[:, piece])
    return learner.predict(state, queries)[0].detach().numpy()


def classes(learner: Learner) -> list[Array]:
    """The encoded examples of each label shown."""
    x, y, _, _ = stream()
    return [encoded(learner, x[0])[y[0].numpy() == label] for label in range(3)]


def test_prototypes_answer_by_the_nearest_mean():
    learner = learner_of(PrototypeConfig(ENCODER, TARGET, D_MODEL))
    queries = encoded(learner, stream()[2][0])
    scale = np.exp(parameters(learner)["log_scale"])
    expected = [-scale * ((queries - examples.mean(0)) ** 2).sum(1) for examples in classes(learner)]
    got = logits(learner)
    np.testing.assert_allclose(got[:, :3], np.stack(expected, 1), rtol=1e-11)
    assert (got[:, 3] == -np.inf).all()


@pytest.mark.parametrize("predictive", ["student_t", "map"])
def test_gemcl_is_the_posterior_of_scipys_distributions(predictive: Any):
    learner = learner_of(GemclConfig(ENCODER, TARGET, D_MODEL, predictive=predictive))
    with torch.no_grad():  # a prior whose two parts differ
        learner.get_parameter("log_alpha").fill_(np.log(3.0))
        learner.get_parameter("log_beta").fill_(np.log(0.7))
    queries = encoded(learner, stream()[2][0])
    got = logits(learner)
    for label, examples in enumerate(classes(learner)):
        n, mean = len(examples), examples.mean(0)
        alpha, beta = 3.0 + n / 2, 0.7 + ((examples - mean) ** 2).sum(0) / 2
        if predictive == "student_t":
            scale = np.sqrt(beta / alpha * (1 + 1 / n))
            expected = stats.t(df=2 * alpha, loc=mean, scale=scale).logpdf(queries).sum(1)
        else:
            expected = stats.norm(mean, np.sqrt(beta / (alpha - 0.5))).logpdf(queries).sum(1)
        np.testing.assert_allclose(got[:, label], expected, rtol=1e-11)
    assert (got[:, 3] == -np.inf).all()


def network(weights: dict[str, Array], name: str, x: Array) -> Array:
    part = {key: weights[f"{name}.{key}"] for key in ("hidden.weight", "hidden.bias", "output.weight")}
    hidden = np.maximum(x @ part["hidden.weight"].T + part["hidden.bias"], 0)
    return hidden @ part["output.weight"].T + weights[f"{name}.output.bias"]


def softplus(x: Array) -> Array:
    return np.log1p(np.exp(x))


def sharpened(mean: Array, precision: Array, said: Array) -> tuple[Array, Array]:
    """The product of a Gaussian belief with one more Gaussian, of a mean and a precision before softplus."""
    value, certainty = said[:7], softplus(said[7:])
    total = precision + certainty
    return (precision * mean + certainty * value) / total, total


def test_bayes_keeps_a_product_of_gaussians_for_each_class():
    learner = learner_of(BayesConfig(ENCODER, TARGET, D_MODEL, d_latent=7, d_hidden=9))
    weights = parameters(learner)
    first = weights["prior.mean"], softplus(weights["prior.raw_precision"])
    of_queries = network(weights, "writer", encoded(learner, stream()[2][0]))
    values, certainties = of_queries[:, :7], softplus(of_queries[:, 7:])
    got = logits(learner)
    for label, examples in enumerate([*classes(learner), np.empty((0, D_MODEL))]):  # the last was never shown
        mean, precision = first
        for said in network(weights, "writer", examples):
            mean, precision = sharpened(mean, precision, said)
        deviation = np.sqrt(1 / precision + 1 / certainties)
        expected = stats.norm(mean, deviation).logpdf(values).sum(1) + 7 * np.log(2 * np.pi) / 2
        np.testing.assert_allclose(got[:, label], expected, rtol=1e-11)


def test_bayes_multiplies_gaussians_one_by_one_for_vectors():
    learner = learner_of(BayesConfig(ENCODER, VectorTarget(dim=2), D_MODEL, d_latent=7, d_hidden=9))
    weights = parameters(learner)
    x, _, queries, _ = stream()
    y = x[..., :2]
    mean, precision = weights["prior.mean"], softplus(weights["prior.raw_precision"])
    hidden = {name: weights[f"target_embedding.{name}"] for name in ("hidden.weight", "hidden.bias")}
    output = {name: weights[f"target_embedding.{name}"] for name in ("output.weight", "output.bias")}
    for example, target in zip(encoded(learner, x[0]), y[0].numpy(), strict=True):
        token = np.maximum(hidden["hidden.weight"] @ target + hidden["hidden.bias"], 0)
        token = output["output.weight"] @ token + output["output.bias"]
        said = network(weights, "writer", np.concatenate([example, token]))
        mean, precision = sharpened(mean, precision, said)
    read = network(
        weights, "reader", np.concatenate([encoded(learner, queries[0]), np.tile(mean, (3, 1))], 1)
    )
    state = learner.observe(learner.init_state(), x[:, :4], y[:, :4])
    state = learner.observe(state, x[:, 4:], y[:, 4:])
    got = learner.predict(state, queries)[0].detach().numpy()
    np.testing.assert_allclose(got, read @ weights["head.weight"].T + weights["head.bias"], rtol=1e-10)


def test_bayes_forgets_the_order_of_examples():
    learner = learner_of(BayesConfig(ENCODER, VectorTarget(dim=2), D_MODEL))
    x = stream()[0]
    y = x[..., :2]
    forwards = learner.observe(learner.init_state(), x, y)
    backwards = learner.observe(learner.init_state(), x.flip(1), y.flip(1))
    for one, other in zip(forwards.tensors(), backwards.tensors(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("config", [PrototypeConfig, GemclConfig])
def test_learners_of_classes_refuse_vectors(config: type[LearnerConfig]):
    message = r"`target\.kind` must be `class` for this kind of learner, got `vector`"
    with pytest.raises(ConfigError, match=message):
        Learner(config(ENCODER, VectorTarget(dim=2)))


def test_means_keep_their_digits_in_long_streams():
    """In float32, far from zero: a mean by way of sums of 200,000 such numbers would be off by 1e-5."""
    learner = Learner(PrototypeConfig(ENCODER, TARGET, D_MODEL)).eval()
    x = torch.randn(1, 1000, DIM, generator=torch.Generator().manual_seed(1)) + 100
    y = torch.zeros(1, 1000, dtype=torch.int64)
    once = learner.observe(learner.init_state(), x, y)
    state = once
    for _ in range(199):
        state = learner.observe(state, x, y)
    torch.testing.assert_close(state.layers[0].means, once.layers[0].means, rtol=1e-6, atol=0)


def wide(config: type[LearnerConfig], vocab: int, **changes: Any) -> tuple[Learner, LearnerState]:
    """A learner of many classes in float32, and a state that has seen some of them."""
    learner = Learner(config(ENCODER, ClassTarget(vocab), **changes), seed=3).eval()
    x = torch.randn(1, 50, DIM, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        return learner, learner.observe(learner.init_state(), x, torch.arange(50)[None])


ANSWERED_IN_PIECES = [
    pytest.param(PrototypeConfig, {}, id="prototype"),
    pytest.param(GemclConfig, {}, id="gemcl"),
    pytest.param(GemclConfig, {"predictive": "map"}, id="gemcl at the mode"),
    pytest.param(BayesConfig, {}, id="bayes"),
]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are read as Linux has them")
@pytest.mark.parametrize(("config", "changes"), ANSWERED_IN_PIECES)
def test_answers_take_memory_for_queries_and_classes_alone(config: type[LearnerConfig], changes: Any):
    """The differences of each query from each class would be 128 times the answers: 256 MiB."""
    learner, state = wide(config, vocab=2048, **changes)
    queries = torch.randn(1, 256, DIM)
    with torch.no_grad():
        learner.predict(state, queries[:, :8])
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        before = process_bytes("VmRSS")
        learner.predict(state, queries)
        assert process_bytes("VmHWM") - before < 64 * 2**20


@pytest.mark.parametrize(("config", "changes"), ANSWERED_IN_PIECES)
def test_queries_answered_in_pieces_have_the_answers_and_gradients_of_each_alone(
    config: type[LearnerConfig], changes: Any
):
    learner, state = wide(config, vocab=1024, **changes)
    # Beyond 2^18 numbers the queries go in pieces, of which the last is shorter.
    queries = torch.randn(1, 259 if config is PrototypeConfig else 5, DIM, requires_grad=True)
    together = learner.predict(state, queries)
    (by_query,) = torch.autograd.grad(together[..., :50].square().sum(), queries)
    with torch.no_grad():
        torch.testing.assert_close(learner.predict(state, queries), together, rtol=1e-6, atol=1e-5)
    for index in (0, 3, queries.shape[1] - 1):
        query = queries[:, index : index + 1].detach().requires_grad_()
        alone = learner.predict(state, query)
        torch.testing.assert_close(alone, together[:, index : index + 1], rtol=1e-6, atol=1e-5)
        (gradient,) = torch.autograd.grad(alone[..., :50].square().sum(), query)
        torch.testing.assert_close(gradient, by_query[:, index : index + 1], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("offset", [0.0, 1.0, 1e4])
@pytest.mark.parametrize("apart", [1.0, 1e-3, 1e-6, 0.0])
def test_distances_of_near_points_keep_their_digits(offset: float, apart: float):
    """Logits of float32 are within 1e-6 of float64's, but for what a rounding of inputs makes: (6e-8 |x|)².
    Products of float32 would lose the distance of points 1e-3 apart whose norm is 10."""
    learner = Learner(PrototypeConfig(ENCODER, TARGET, 64), seed=3).eval()
    generator = torch.Generator().manual_seed(5)
    x = offset + torch.randn(1, VOCAB, DIM, generator=generator)
    queries = x + apart * torch.randn(1, VOCAB, DIM, generator=generator)
    with torch.no_grad():
        state = learner.observe(learner.init_state(), x, torch.arange(VOCAB)[None])
        got = learner.predict(state, queries)[0].double().numpy()
    # The encoder's float32 is what the engine computes from: the means of single examples show it.
    with torch.no_grad():
        of_queries = learner.observe(learner.init_state(), queries, torch.arange(VOCAB)[None])
    assert state.codebook is not None
    assert of_queries.codebook is not None
    means, points = (
        layers[0].means[0].double().numpy()[codebook[0]]
        for layers, codebook in (
            (state.layers, state.codebook),
            (of_queries.layers, of_queries.codebook),
        )
    )
    scale = np.exp(parameters(learner)["log_scale"].astype(np.float64)).item()
    expected = -scale * ((points[:, None] - means) ** 2).sum(-1)
    rounding = scale * (6e-8**2) * (means**2).sum(-1).max()
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=rounding)
