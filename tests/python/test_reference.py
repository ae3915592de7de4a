"""The engine against `mambacl.reference`, MambaCL in plain PyTorch; and that file with other mixers."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mambacl import (
    AttentionMixer,
    CnnEncoder,
    Episode,
    Learner,
    MambaMixer,
    Selectivity,
    SequenceConfig,
    VectorEncoder,
    VectorTarget,
    reference,
)
from mambacl.errors import ConfigError, InvalidValueError, ShapeError
from mambacl.reference import ReferenceLearner
from small_learners import CONFIG, DIM, VOCAB, small_config

EXAMPLES = Path(__file__).parents[2] / "examples"
CONFIGS = {
    "vector": small_config(encoder=VectorEncoder(DIM)),
    "hidden": small_config(mixer=MambaMixer(d_state=3, d_conv=1, expand=3, dt_rank=2), n_layer=1),
    "cnn": small_config(encoder=CnnEncoder(2, 7, (3, 4)), mixer=MambaMixer(d_state=4), d_model=16),
    "strides": small_config(encoder=CnnEncoder(1, 5, (2, 3), (1, 3)), selectivity=Selectivity(weight=0.1)),
}


def both(config: SequenceConfig) -> tuple[Learner, ReferenceLearner]:
    """The engine's learner and the reference with the same parameters, far from their first values."""
    engine, plain = Learner(config, seed=3).double(), ReferenceLearner(config).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in engine.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        for buffer in engine.buffers():
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    plain.load_state_dict(engine.state_dict())
    return engine, plain


def episode(config: SequenceConfig, examples: int = 6, queries: int = 3) -> Episode:
    """Two streams of three classes. The first stream lacks the class of its last query."""
    generator = torch.Generator().manual_seed(1)
    shape = config.encoder.input_shape
    train_x, test_x = (
        torch.randn(2, n, *shape, generator=generator, dtype=torch.float64) for n in (examples, queries)
    )
    train_y, test_y = (torch.randint(3, (2, n), generator=generator) for n in (examples, queries))
    test_y[0, -1] = 3
    codebook = torch.rand(2, VOCAB, generator=generator).argsort(1)
    return Episode(train_x, train_y, test_x, test_y, codebook)


def assert_near(one: Tensor, other: Tensor, name: str = "") -> None:
    torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-13, msg=lambda text: f"{name}: {text}")


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_a_training_step_has_the_engine_s_loss_logits_and_gradients(config: SequenceConfig):
    engine, plain = both(config)
    batch = episode(config)
    inputs = [
        dataclasses.replace(
            batch,
            train_x=batch.train_x.clone().requires_grad_(),
            test_x=batch.test_x.clone().requires_grad_(),
        )
        for _ in range(2)
    ]
    expected = engine(inputs[0])
    loss, logits = plain(inputs[1])
    assert_near(loss, expected.loss, "loss")
    assert_near(logits, expected.output, "logits")
    assert expected.penalty is not None
    assert expected.penalty > 0
    expected.loss.backward()
    loss.backward()
    for name in ("train_x", "test_x"):
        wanted, got = (getattr(one, name).grad for one in inputs)
        assert wanted.abs().max() > 1e-6, name
        assert_near(got, wanted, name)
    gradients = {name: parameter.grad for name, parameter in plain.named_parameters()}
    assert gradients.keys() == dict(engine.named_parameters()).keys()
    for name, parameter in engine.named_parameters():
        got, wanted = gradients[name], parameter.grad
        assert got is not None, name
        assert wanted is not None, name
        assert wanted.abs().max() > 1e-9, name
        assert_near(got, wanted, name)
    for name, buffer in engine.named_buffers():  # both have moved towards the stream's moments
        assert_near(plain.get_buffer(name), buffer, name)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_states_moments_and_regulariser_are_the_engine_s(config: SequenceConfig):
    engine, plain = both(config)
    batch = episode(config)
    y, answers = (batch.codebook.gather(1, labels) for labels in (batch.train_y, batch.test_y))
    penalty = engine(batch).penalty
    wanted, trace = engine.observe_traced(
        engine.init_state(codebook=batch.codebook), batch.train_x, batch.train_y
    )
    state = plain.observe(plain.init_state(2), batch.train_x, y)
    for layer, expected in zip(state[1:], wanted.layers, strict=True):
        for got, tensor in zip(layer, expected, strict=True):
            assert_near(got, tensor)
    for got, tensor in zip(state[0], (part for pair in trace.moments for part in pair), strict=True):
        assert_near(got, tensor.expand_as(got))
    before = {name: buffer.clone() for name, buffer in plain.named_buffers()}
    got = plain.regulariser(state, batch.train_x, y, batch.test_x, answers)
    assert penalty is not None
    assert_near(got, penalty)
    assert all(torch.equal(plain.get_buffer(name), buffer) for name, buffer in before.items())


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_after_training_both_use_the_running_moments(config: SequenceConfig):
    engine, plain = both(config)
    engine.eval()
    plain.eval()
    batch = episode(config)
    codebook = batch.codebook
    y = codebook.gather(1, batch.train_y)
    with torch.no_grad():
        wanted = engine.observe(engine.init_state(codebook=codebook), batch.train_x, batch.train_y)
        at_once = plain.observe(plain.init_state(2), batch.train_x, y)
        one_by_one, engine_s = plain.init_state(2), engine.init_state(codebook=codebook)
        for i in range(y.shape[1]):
            now = slice(i, i + 1)
            one_by_one = plain.observe(one_by_one, batch.train_x[:, now], y[:, now])
            engine_s = engine.observe(engine_s, batch.train_x[:, now], batch.train_y[:, now])
        for state in (at_once, one_by_one):
            logits = plain.predict(state, batch.test_x)
            by_label = logits.gather(2, codebook.unsqueeze(1).expand_as(logits))
            for expected in (wanted, engine_s):
                answer = engine.predict(expected, batch.test_x)
                torch.testing.assert_close(by_label, answer, rtol=1e-9, atol=1e-11)
                for layer, tensors in zip(state[1:], expected.layers, strict=True):
                    for got, tensor in zip(layer, tensors, strict=True):
                        assert_near(got, tensor)


def test_a_query_is_the_next_token_of_the_stream():
    """The engine's answer is what one pass over x_1, y_1, ..., x_T, y_T, x gives at its last token."""
    engine, plain = both(CONFIGS["vector"])
    batch = episode(CONFIGS["vector"])
    state = engine.eval().init_state(codebook=batch.codebook)
    start = plain.eval().init_state(2)
    with torch.no_grad():
        wanted = engine.predict(engine.observe(state, batch.train_x, batch.train_y), batch.test_x)
        x, queries = (plain.encoder(inputs, start[0])[0] for inputs in (batch.train_x, batch.test_x))
        symbols = plain.target_embedding(batch.codebook.gather(1, batch.train_y))
        stream = torch.stack([x, symbols], 2).flatten(1, 2)
        for index, query in enumerate(queries.unbind(1)):
            tokens, _, _ = plain.backbone(torch.cat([stream, query.unsqueeze(1)], 1), start[1:])
            logits = plain.head(tokens[:, -1]).gather(1, batch.codebook)
            torch.testing.assert_close(logits, wanted[:, index], rtol=1e-9, atol=1e-11)


def test_no_query_finds_its_class():
    plain = ReferenceLearner(CONFIG).double()
    batch = episode(CONFIG)
    state = plain.observe(plain.init_state(2), batch.train_x, batch.train_y)
    absent = torch.full_like(batch.test_y, VOCAB - 1)
    assert plain.regulariser(state, batch.train_x, batch.train_y, batch.test_x, absent) == 0


@pytest.mark.parametrize("decay", ["published", 0.1, 2])
def test_mamba_begins_as_the_engine_s(decay: Any):
    config = small_config(mixer=MambaMixer(d_state=4, dt_min=0.01, dt_max=0.02, initial_decay=decay))
    engine, plain = Learner(config), ReferenceLearner(config)
    mixer: Any = plain.backbone.layers[0]["mixer"]
    assert_near(mixer.A_log, engine.get_parameter("backbone.layers.0.mixer.A_log"))
    step = nn.functional.softplus(mixer.dt_proj.bias)
    assert (step >= 0.01 * (1 - 1e-4)).all()
    assert (step <= 0.02 * (1 + 1e-4)).all()
    assert step.std() > 0


@pytest.mark.parametrize(
    "changes",
    [
        {"mixer": AttentionMixer(n_head=2)},
        {"target": VectorTarget(3)},
        {"norm": "none"},
        {"selectivity": Selectivity(target="uniform")},
        {"selectivity": Selectivity(association="gated", weight=0.5)},
    ],
)
def test_settings_that_it_lacks_are_refused(changes: dict[str, Any]):
    with pytest.raises(
        ConfigError, match=r"ReferenceLearner: `config` must be the default, for classes, got"
    ):
        ReferenceLearner(small_config(**changes))


@pytest.mark.parametrize("y", [torch.tensor([[0, VOCAB]]), torch.tensor([[-1, 0]]), torch.zeros(1, 2)])
def test_wrong_symbols_are_refused(y: Tensor):
    plain = ReferenceLearner(CONFIG)
    with pytest.raises(InvalidValueError, match=r"`y` must be int64 \(1, 2\), 0 to 7, got"):
        plain.observe(plain.init_state(), torch.randn(1, 2, DIM), y)


@pytest.mark.parametrize("shape", [(2, DIM), (2, 3, DIM + 1), (2, 3, 1, DIM), (1, 3, DIM), (2, 0, DIM)])
def test_inputs_of_a_wrong_shape_are_refused(shape: tuple[int, ...]):
    plain = ReferenceLearner(CONFIG)
    x, state = torch.randn(shape), plain.init_state(2)
    message = re.escape(f"argument `x` must be (2, n, *(5,)), got {shape}")
    with pytest.raises(ShapeError, match=message):
        plain.predict(state, x)
    with pytest.raises(ShapeError, match=message):
        plain.observe(state, x, torch.zeros(shape[:2], dtype=torch.int64))


def test_the_file_stays_short():
    assert len(inspect.getsource(reference).splitlines()) <= 250


@pytest.fixture
def gru(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The example with the GRU, which has the episodes and the training loop of both."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("gru_mixer")


@pytest.fixture
def learners(gru: Any) -> dict[str, ReferenceLearner]:
    """The learners of the examples."""
    gated = importlib.import_module("gated_recurrence_mixer")
    pairs = {
        "gru": (gru.CONFIG, gru.GruMixer),
        "gated": (gated.GATED_CONFIG, gated.GatedRecurrenceMixer),
    }
    made = {}
    for name, pair in pairs.items():
        torch.manual_seed(0)
        made[name] = ReferenceLearner(*pair)
    return made


@pytest.mark.parametrize("name", ["gru", "gated"])
def test_an_example_s_mixer_follows_the_protocol(gru: Any, learners: dict[str, ReferenceLearner], name: str):
    learner = learners[name].eval()
    batch = gru.episodes(seed=0, batch=2)
    x, y = batch.train_x, batch.train_y
    start = learner.init_state(2)
    at_once = learner.observe(start, x, y)
    in_pieces = learner.observe(learner.observe(start, x[:, :1], y[:, :1]), x[:, 1:], y[:, 1:])
    copies = [part.clone() for layer in at_once for part in layer]
    together = learner.predict(at_once, batch.test_x)
    alone = torch.cat([learner.predict(at_once, query) for query in batch.test_x.split(1, 1)], 1)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(learner.predict(in_pieces, batch.test_x), together, rtol=1e-4, atol=1e-6)
    for part, copy in zip((part for layer in at_once for part in layer), copies, strict=True):
        assert torch.equal(part, copy)
        assert len(part) == 2


@pytest.mark.parametrize(("name", "steps"), [("gru", 300), ("gated", 150)])
def test_an_example_s_mixer_is_meta_trained(
    gru: Any, learners: dict[str, ReferenceLearner], name: str, steps: int
):
    """The loss, regulariser included, falls below ln 2 = 0.69: the cross-entropy of a learner that knows
    which two symbols there are and not which is whose."""
    losses = list(gru.meta_train(learners[name], steps))
    assert sum(losses[:5]) / 5 > 1.5
    assert sum(losses[-20:]) / 20 < 0.6


def test_the_regulariser_needs_keys(gru: Any):
    config = dataclasses.replace(gru.CONFIG, selectivity=Selectivity())
    learner = ReferenceLearner(config, gru.GruMixer)
    with pytest.raises(ConfigError, match="`selectivity` must be None: the mixer gives no keys"):
        learner(gru.episodes(seed=0, batch=2))


@pytest.mark.parametrize("file", ["gru_mixer.py", "gated_recurrence_mixer.py"])
def test_examples_stay_short(file: str):
    assert len((EXAMPLES / file).read_text(encoding="utf-8").splitlines()) < 80
