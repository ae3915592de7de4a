"""Learners written in Python: everything that the engine's kinds can do, and errors for broken ones."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mambacl
from gaussian_episodes import GaussianEpisodes
from mambacl import (
    ClassTarget,
    ContinualClassifier,
    Learner,
    LearnerConfig,
    LearnerState,
    TrainConfig,
    VectorEncoder,
    VectorTarget,
    experiments,
    load_learner,
    load_run,
    load_state,
    meta_train,
    save_learner,
    save_state,
)
from mambacl.config import plugin_kinds
from mambacl.errors import (
    ConfigError,
    DtypeError,
    FileError,
    InvalidValueError,
    LawError,
    MambaclError,
    PluginError,
    ShapeError,
)
from mambacl.experiments.experiment import Experiment
from mambacl.experiments.trained import run_settings
from mambacl.experiments.training_run import TrainingRun
from mambacl.importing import import_named
from mambacl.plugins.state_tree import Structure
from mambacl.runs import RunFolder
from mambacl.studies.conditions import ByCondition
from mambacl.studies.registry import study
from mambacl.studies.scale import Scale
from mambacl.sweeps import Results, read_sweep
from mambacl.sweeps.advance import advance
from mambacl.sweeps.plan import due, outcomes
from mambacl.testing import check_learner
from plugin_learners import LinearMemory, LinearMemoryConfig
from shell import Shell

CONFIG = LinearMemoryConfig(VectorEncoder(dim=4), ClassTarget(vocab=6), d_model=8)
HERE = Path(__file__).parent

EXPERIMENT = """
[plugins]
modules = ["plugin_learners"]

[model]
kind = "linear-memory"
d_model = 8
d_key = 8
encoder = {{ kind = "vector", dim = 4 }}
target = {{ kind = "class", vocab = 6 }}

[train]
steps = 6
batch_size = 4
warmup_steps = 1
lr = 1e-2
validate_every = 3
validation_episodes = 4
checkpoint_every = 3

[data]
kind = "feature-file"
file = "{file}"
dim = 4
tasks = 2
train_shots = 2
test_shots = 2
evaluation_test_shots = 2
"""


@contextlib.contextmanager
def registered(kind: str, build: Callable[[Any, int], object]) -> Iterator[type[LearnerConfig]]:
    """Settings of a kind that is there for one test."""

    @mambacl.register(kind)
    @dataclass(frozen=True)
    class Config(LearnerConfig):
        """Of a test."""

        def build(self, seed: int) -> object:
            return build(self, seed)

    try:
        yield Config
    finally:
        del plugin_kinds.PLUGINS[kind]


@pytest.fixture
def features(tmp_path: Path) -> Path:
    """Twelve classes of vectors, in a file."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(12), 6)
    means = generator.normal(size=(12, 4))
    x = (means[labels] + 0.1 * generator.normal(size=(72, 4))).astype(np.float32)
    np.savez(tmp_path / "features.npz", features=x, labels=labels)
    return tmp_path / "features.npz"


@pytest.fixture
def experiment(tmp_path: Path, features: Path) -> Path:
    """An experiment with a learner written in Python."""
    file = tmp_path / "linear.toml"
    file.write_text(EXPERIMENT.format(file=features))
    return file


def test_a_learner_keeps_all_laws():
    told: list[str] = []
    check_learner(CONFIG, show=told.append)
    assert len(told) == 15
    assert all(line.startswith("ok  ") for line in told)
    check_learner(replace(CONFIG, target=VectorTarget(dim=3)), show=told.append)
    check_learner(mambacl.GemclConfig(CONFIG.encoder, CONFIG.target, d_model=8), show=told.append)


def test_settings_are_those_of_a_kind():
    assert (CONFIG.kind, LinearMemoryConfig.__module__) == ("linear-memory", "plugin_learners")
    table = {"kind": "linear-memory", "encoder": {"kind": "vector", "dim": 4}, "d_key": 3}
    config = LearnerConfig.from_table(table)
    assert config == LinearMemoryConfig(VectorEncoder(dim=4), d_key=3)
    with pytest.raises(ConfigError, match=r"no setting `model\.d_kye`; did you mean `model\.d_key`\?"):
        LearnerConfig.from_table({**table, "d_kye": 3})
    with pytest.raises(ConfigError, match=r"`model\.d_key` must be a valid integer, got 'three'"):
        LearnerConfig.from_table({**table, "d_key": "three"})


def test_a_learner_is_a_learner():
    learner = Learner(CONFIG, seed=3)
    assert isinstance(learner, Learner)
    assert isinstance(learner.module, LinearMemory)
    assert repr(learner) == "Learner(linear-memory, d_model=8, parameters=185, device=cpu)"
    assert torch.equal(learner.module.key.weight, Learner(CONFIG, seed=3).module.key.weight)
    assert not torch.equal(learner.module.key.weight, Learner(CONFIG, seed=4).module.key.weight)
    (layer,) = learner.init_state(2).layers
    assert repr(layer) == "LayerState(linear-memory: written (2, 16, 6), keys (2, 16))"
    groups = learner.parameter_groups(0.1)
    assert [len(group["params"]) for group in groups] == [2, 3]  # weights; biases and the scale
    assert not any(name.startswith("_anchor") for name in learner.state_dict())
    x = torch.zeros(1, 1, 4)
    state, trace = learner.observe_traced(learner.init_state(), x, torch.zeros(1, 1, dtype=torch.int64))
    with pytest.raises(ConfigError, match="a sequence learner of the engine, got kind 'linear-memory'"):
        learner.associate(state, x, trace)


def test_a_module_sees_symbols_and_answers_come_by_label():
    seen: list[Tensor] = []

    class Echo(nn.Module):
        """Answers with the last symbol."""

        def init_state(self, batch_size: int) -> Tensor:
            return torch.zeros(batch_size, dtype=torch.int64)

        def observe(self, state: Tensor, x: Tensor, y: Tensor) -> Tensor:
            seen.append(y)
            return y[:, -1]

        def predict(self, state: Tensor, x: Tensor) -> Tensor:
            one_hot = nn.functional.one_hot(state, 4).to(x.dtype)
            return one_hot.unsqueeze(1).expand(-1, x.shape[1], -1)

    with registered("echo", lambda config, seed: Echo()) as config:
        learner = Learner(config(VectorEncoder(dim=1), ClassTarget(vocab=4))).eval()
        state = learner.init_state(codebook=torch.tensor([[2, 0, 3, 1], [1, 3, 0, 2]]))
        x, y = torch.zeros(2, 2, 1), torch.tensor([[0, 2], [1, 3]])
        state = learner.observe(state, x, y)
        assert seen[0].tolist() == [[2, 3], [3, 2]]
        logits = learner.predict(state, x[:, :1])
        assert logits.argmax(-1).tolist() == [[2], [3]]
        assert state.seen is not None
        assert state.seen.tolist() == [[True, False, True, False], [False, True, False, True]]
        assert state.answers(logits).tolist() == [[2], [3]]


def test_the_loss_is_the_objective_and_the_regulariser():
    calls: list[tuple[Any, mambacl.Episode, int]] = []

    class Guided(LinearMemory):
        def regulariser(self, state: Any, episode: mambacl.Episode, step: int) -> Any:
            calls.append((state, episode, step))
            return 0.5

    with registered("guided", lambda config, seed: Guided(replace(CONFIG))) as config:
        learner = Learner(config(CONFIG.encoder, CONFIG.target, d_model=8))
        episode = GaussianEpisodes(seed=0).batch(0, 3)
        output = learner(episode, 7)
        assert output.loss.item() == pytest.approx(output.objective.item() + 0.5)
        assert output.penalty is not None
        assert output.penalty.item() == 0.5
        ((state, given, step),) = calls
        assert step == 7
        assert state.written.requires_grad
        assert torch.equal(given.train_y, episode.codebook.gather(1, episode.train_y))
        assert torch.equal(given.test_task, episode.test_y)
        evaluated = learner.eval()(episode)
        assert (evaluated.penalty, len(calls)) == (None, 1)
        logits = evaluated.output.flatten(0, 1)
        want = nn.functional.cross_entropy(logits, episode.test_y.flatten())
        torch.testing.assert_close(evaluated.objective, want)
        assert evaluated.accuracy is not None
        state = learner.observe(
            learner.init_state(codebook=episode.codebook), episode.train_x, episode.train_y
        )
        right = state.answers(evaluated.output) == episode.test_y
        assert evaluated.accuracy.item() == pytest.approx(right.float().mean().item())


def test_train_resume_evaluate_export_and_stream(
    tmp_path: Path, experiment: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    shell("train", experiment, "--run-dir", whole, "--quiet")
    shell("train", experiment, "--run-dir", stopped, "--steps", "3", "--quiet")
    shell("train", experiment, "--run-dir", stopped, "--resume", "--quiet")
    one, other = (load_run(run, "last").learner for run in (whole, stopped))
    assert one.fingerprint() == other.fingerprint() != Learner(one.config, seed=0).fingerprint()
    assert RunFolder.open(whole).settings["plugins"] == {"modules": ["plugin_learners"]}

    measured = json.loads(shell("evaluate", whole, "--episodes", "4", "--matrix-episodes", "2", "--json"))
    assert len(measured["accuracy"]) == 4
    other_run = tmp_path / "other"
    shell("train", experiment, "--run-dir", other_run, "--set", "model.d_key=4", "--quiet")
    shell("evaluate", other_run, "--episodes", "4", "--matrix-episodes", "2")
    groups = json.loads(shell("compare", whole, other_run, "--json"))["groups"]
    assert [group["name"] for group in groups] == ["model.d_key 8", "model.d_key 4"]

    answer = study("order").ask(load_run(whole), Scale.to_try())
    assert isinstance(answer, ByCondition)

    shell("export", whole, "model.safetensors", "--checkpoint", "last")
    learner = load_learner("model.safetensors")
    assert learner.fingerprint() == one.fingerprint()
    assert b"pickle" not in Path("model.safetensors").read_bytes()

    x, y = np.eye(4)[[0, 1, 0, 1]] * 3, ["cat", "dog", "cat", "dog"]
    classifier = ContinualClassifier("model.safetensors").partial_fit(x, y)
    assert set(classifier.predict(x)) <= {"cat", "dog"}
    classifier.save("stream.safetensors")
    again = ContinualClassifier.load("stream.safetensors")
    np.testing.assert_array_equal(again.predict_proba(x), classifier.predict_proba(x))


def test_a_run_is_read_by_a_process_that_has_the_module(tmp_path: Path, experiment: Path):
    TrainingRun.begin(experiments.load(str(experiment)), 0, tmp_path / "run", resume=False).train(
        3, progress=False
    )
    code = f"import mambacl; print(mambacl.load_run({str(tmp_path / 'run')!r}).learner.fingerprint())"
    path = os.pathsep.join(
        [os.environ["PYTHONPATH"], str(HERE)] if "PYTHONPATH" in os.environ else [str(HERE)]
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == load_run(tmp_path / "run").learner.fingerprint()


def test_a_sweep_has_rows_of_both(tmp_path: Path, experiment: Path):
    file = tmp_path / "both.toml"
    file.write_text(
        f'experiment = "{experiment.name}"\n[test]\nepisodes = 4\nmatrix_episodes = 2\n'
        '[[learners]]\nname = "linear"\n'
        '[[learners]]\nname = "prototype"\nmodel = { kind = "prototype" }\n'
    )
    sweep, results = read_sweep(file), Results(tmp_path / "results")
    linear, prototype = (row.cells[0].experiment.model for row in sweep.rows)
    assert isinstance(linear, LinearMemoryConfig)
    assert (linear.d_key, prototype.kind, prototype.d_model) == (8, "prototype", 8)
    while cells := due(sweep, outcomes(sweep, results)):
        advance(sweep, cells[0], tmp_path / "runs", results)
    assert {name: outcome.complete for name, outcome in outcomes(sweep, results).items()} == {
        "linear-seed0": True,
        "prototype-seed0": True,
    }


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_dropout_and_batch_norm_resume_exactly(tmp_path: Path, precision: str):
    class Noisy(LinearMemory):
        def __init__(self, config: LinearMemoryConfig) -> None:
            super().__init__(config)
            self.encode = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))

        def _keys(self, x: Tensor) -> Tensor:
            encoded = self.encode(x.flatten(0, 1)).view(*x.shape[:2], -1)
            return self.key(encoded).softmax(-1)

    source = GaussianEpisodes(seed=1)
    train = TrainConfig(steps=4, batch_size=4, checkpoint_every=2, accumulation=2, precision=precision)
    with registered("noisy", lambda config, seed: Noisy(CONFIG)) as config:
        learners = [Learner(config(CONFIG.encoder, CONFIG.target, d_model=8)) for _ in range(3)]
        first = learners[0].fingerprint()
        meta_train(learners[0], source, train, progress=False)
        run = RunFolder.create(tmp_path / "run", {"seed": 0})
        meta_train(learners[1], source, train, run=run, stop_at=2, progress=False)
        torch.rand(5)  # the state of torch's generator is no part of a run
        meta_train(learners[2], source, train, run=run, progress=False)
        assert learners[0].fingerprint() == learners[2].fingerprint() != first
        assert learners[0].module.encode[1].num_batches_tracked == 8  # of its own parts: 2 reads in each of 4
        learner = learners[0].train()
        x = torch.randn(1, 3, 4)
        state = learner.observe(learner.init_state(), x, torch.tensor([[0, 1, 2]]))
        assert torch.equal(learner.predict(state, x), learner.predict(state, x))  # as in evaluation mode
        assert learner.module.encode[2].training


class Cache(nn.Module):
    """Attention over all examples: a state that grows, in a dict with a list."""

    uses_positions = False

    def __init__(self, vocab: int) -> None:
        super().__init__()
        self.key = nn.Linear(4, 4)
        self.vocab = vocab

    def init_state(self, batch_size: int) -> dict[str, Any]:
        new = self.key.weight.new_zeros
        return {"seen": [new(batch_size, 0, 4), new(batch_size, 0, self.vocab)]}

    def observe(self, state: dict[str, Any], x: Tensor, y: Tensor) -> dict[str, Any]:
        values = nn.functional.one_hot(y, self.vocab).to(x.dtype)
        keys, before = state["seen"]
        return {"seen": [torch.cat([keys, self.key(x)], 1), torch.cat([before, values], 1)]}

    def predict(self, state: dict[str, Any], x: Tensor) -> Tensor:
        keys, values = state["seen"]
        return (self.key(x) @ keys.transpose(1, 2)).softmax(-1) @ values


def test_a_state_may_grow(tmp_path: Path):
    with registered("cache", lambda config, seed: Cache(config.target.vocab)) as kind:
        config = kind(VectorEncoder(dim=4), ClassTarget(vocab=6))
        check_learner(config, show=lambda line: None)
        learner = Learner(config).eval()
        state = learner.init_state(2)
        assert state.grows
        assert state.layers[0].spec.names == ("seen.0", "seen.1")
        state = learner.observe(state, torch.randn(2, 3, 4), torch.tensor([[0, 1, 1]] * 2))
        assert [tuple(tensor.shape) for tensor in state.layers[0]] == [(2, 3, 4), (2, 3, 6)]
        save_state(tmp_path / "state", state, learner)
        assert load_state(tmp_path / "state", learner).examples == 3
        with pytest.raises(ShapeError, match="`states\\[1\\]` must hold tensors of shape"):
            LearnerState.cat([state, learner.init_state(1)])


class Pair(NamedTuple):
    one: Any
    other: Any


@pytest.mark.parametrize(
    "tree",
    [
        torch.zeros(1),
        (torch.zeros(1), [torch.ones(1), {"a": torch.ones(2), "b": ()}]),
        Pair(torch.zeros(1), (torch.ones(3),)),
    ],
    ids=["tensor", "nested", "named tuple"],
)
def test_trees_come_back(tree: Any):
    structure = Structure.of(tree)
    tensors = structure.flat(tree)
    assert len(tensors) == len(structure.names())
    again = structure.tree(iter(tensors))
    assert Structure.of(again) == structure
    assert all(map(torch.equal, structure.flat(again), tensors))


def broken(**methods: Any) -> Callable[[Any, int], nn.Module]:
    """A linear memory with other methods."""
    made = type("Broken", (LinearMemory,), methods)
    return lambda config, seed: made(CONFIG)


def _inplace(self: Any, state: Any, x: Tensor, y: Tensor) -> Any:
    state.keys.add_(1)
    return state


BROKEN: dict[str, tuple[Callable[[Any, int], object], str]] = {
    "no module": (lambda config, seed: 3, "`build` must return an nn.Module, got int"),
    "build fails": (lambda config, seed: 1 / 0, "`build` raised ZeroDivisionError: division by zero"),
    "no method": (
        lambda config, seed: nn.Linear(2, 2),
        r"`build` must .* got Linear, which lacks `init_state`",
    ),
    "lazy": (
        lambda config, seed: _lazy(),
        "`build` must return a module whose parameters have shapes, got lazy ones",
    ),
    "infinite buffer": (
        lambda config, seed: _masked(),
        "`build` must return .* finite buffers .*, got NaN or infinity in 'mask'",
    ),
    "no tensor": (
        broken(init_state=lambda self, n: (torch.zeros(n), 3)),
        "`init_state` `state.1` must be a tensor, or a tuple, list, dict or dataclass of tensors, got int",
    ),
    "empty state": (broken(init_state=lambda self, n: ()), "`init_state` the state must hold at least one"),
    "no stream axis": (
        broken(init_state=lambda self, n: torch.zeros(3, n)),
        r"`init_state` `state` must have the streams as its first axis, 2 of them, got shape \[3, 2\]",
    ),
    "init fails": (
        broken(init_state=lambda self: None),
        "`init_state` raised TypeError: .*positional argument",
    ),
    "other structure": (
        broken(observe=lambda self, state, x, y: (state.written, state.keys)),
        "`observe` must return a state as `init_state` does: `state` must be of type Memory, got tuple",
    ),
    "no tensor later": (
        broken(observe=lambda self, state, x, y: replace(state, keys=1)),
        r"`observe` must return a state as .*: `state\.keys` must be a tensor, got int",
    ),
    "other shape": (
        broken(observe=lambda self, state, x, y: replace(state, keys=state.keys[:, :3])),
        r"`observe` must return `keys` of shape \[2, 16\], got \[2, 3\]",
    ),
    "other dtype": (
        broken(observe=lambda self, state, x, y: replace(state, keys=state.keys.double())),
        r"`observe` must return `keys` of torch\.float32, got torch\.float64",
    ),
    "in place": (
        broken(observe=_inplace),
        "`observe` must leave its state as it is .* got `keys` changed in place",
    ),
    "observe fails": (broken(observe=lambda self, state, x, y: x.nope), "`observe` raised AttributeError: "),
    "no answer": (
        broken(predict=lambda self, state, x: None),
        "`predict` must return a tensor, got NoneType",
    ),
    "answer's shape": (
        broken(predict=lambda self, state, x: x),
        r"`predict` must return shape \(batch, Q, vocab\) = \[2, 6, 6\], got \[2, 6, 4\]",
    ),
    "answer's dtype": (
        broken(predict=lambda self, state, x: torch.zeros(2, 6, 6, dtype=torch.int64)),
        r"`predict` must return its answers of torch\.float32, got torch\.int64",
    ),
    "detached": (
        broken(
            predict=lambda self, state, x: LinearMemory.predict(self, state, x).detach(), regulariser=None
        ),
        "`observe` and `predict` must be differentiable, got a loss that depends on no parameter",
    ),
    "no number": (
        broken(regulariser=lambda self, state, episode, step: state.keys),
        r"`regulariser` must return a number, got shape \[2, 16\]",
    ),
}


def _lazy() -> nn.Module:
    module = LinearMemory(CONFIG)
    module.late = nn.LazyLinear(2)
    return module


def _masked() -> nn.Module:
    module = LinearMemory(CONFIG)
    module.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    return module


@pytest.mark.parametrize(("build", "message"), BROKEN.values(), ids=BROKEN)
def test_errors_name_the_kind_the_method_and_what_came(build: Callable[[Any, int], object], message: str):
    with (
        registered("broken-one", build) as config,
        pytest.raises(PluginError, match=f"^learner of kind 'broken-one': {message}"),
    ):
        Learner(config(CONFIG.encoder, CONFIG.target, d_model=8))(GaussianEpisodes(seed=0).batch(0, 2))


def test_a_learner_without_parameters_answers_and_cannot_be_trained():
    class Means(nn.Module):
        def init_state(self, batch_size: int) -> Any:
            return torch.zeros(batch_size, 6, 4), torch.zeros(batch_size, 6)

        def observe(self, state: Any, x: Tensor, y: Tensor) -> Any:
            shown = nn.functional.one_hot(y, 6).to(x.dtype)
            return state[0].to(x.dtype) + shown.transpose(1, 2) @ x, state[1] + shown.sum(1)

        def predict(self, state: Any, x: Tensor) -> Tensor:
            return -torch.cdist(x, state[0] / state[1].clamp_min(1).unsqueeze(2))

    with registered("means", lambda config, seed: Means()) as config:
        learner = Learner(config(CONFIG.encoder, CONFIG.target))
        classifier = ContinualClassifier(learner).fit(np.eye(4), ["a", "b", "c", "d"])
        assert classifier.predict(np.eye(4)).tolist() == ["a", "b", "c", "d"]
        with pytest.raises(PluginError, match="it must have parameters to be trained, got none"):
            learner(GaussianEpisodes(seed=0).batch(0, 2))
        assert learner.eval()(GaussianEpisodes(seed=0).batch(0, 2)).loss.isfinite()
        with pytest.raises(LawError, match=r"select.*|must return `0` of"):  # its state is float32 always
            check_learner(learner.config, show=lambda line: None)


def _with_more(self: Any, config: LinearMemoryConfig) -> None:
    LinearMemory.__init__(self, config)
    self.unused = nn.Parameter(torch.ones(2))


LAWLESS: dict[str, tuple[dict[str, Any], str]] = {
    "in pieces and one by one = at once": (
        {
            "observe": lambda self, state, x, y: replace(
                LinearMemory.observe(self, state, x, y), keys=self._keys(x).mean(1)
            )
        },
        "`keys` of the state must be the same, got a difference of up to",
    ),
    "each query is answered alone": (
        {"predict": lambda self, state, x: LinearMemory.predict(self, state, x - x.mean(1, keepdim=True))},
        "answers to queries alone and together must be the same",
    ),
    "each stream is read alone": (
        {"observe": lambda self, state, x, y: LinearMemory.observe(self, state, x - x.mean(0), y)},
        "of the state must be the same",
    ),
    "the loss reaches every parameter": (
        {"__init__": _with_more},
        "a gradient must reach every parameter, got none for `module.unused`",
    ),
    "examples reach the answers": (
        {"predict": lambda self, state, x: self.scale * nn.functional.pad(x, (0, 2))},
        "answers must depend on the examples",
    ),
    "a call gives the same result twice": (
        {"predict": lambda self, state, x: LinearMemory.predict(self, state, x) + torch.rand(())},
        "answers must be the same",
    ),
    "states and answers are finite": (
        {"predict": lambda self, state, x: LinearMemory.predict(self, state, x) * torch.nan},
        "the answers must be finite in torch.float64, got NaN or infinity",
    ),
}


@pytest.mark.parametrize(("law", "methods", "reason"), [(law, *told) for law, told in LAWLESS.items()])
def test_a_law_that_is_broken_is_named(law: str, methods: dict[str, Any], reason: str):
    told: list[str] = []
    with registered("lawless", broken(**methods)) as config:
        settings = config(CONFIG.encoder, CONFIG.target, d_model=8)
        with pytest.raises(
            LawError, match=rf"(?s)a learner of kind 'lawless' breaks .*\n  {law}: .*{reason}"
        ):
            check_learner(settings, show=told.append)
    assert any(line.startswith(f"BROKEN  {law}: ") for line in told)
    assert any(line.startswith("ok  ") for line in told)


def test_bad_input_is_refused_as_by_the_engine():
    learner, prototype = (
        Learner(config).eval()
        for config in (CONFIG, mambacl.PrototypeConfig(CONFIG.encoder, CONFIG.target, d_model=8))
    )
    x, y = torch.zeros(1, 2, 4), torch.zeros(1, 2, dtype=torch.int64)
    calls: list[Callable[[Learner], object]] = [
        lambda one: one.observe(one.init_state(), x[..., :3], y),
        lambda one: one.observe(one.init_state(), x[:, :0], y[:, :0]),
        lambda one: one.observe(one.init_state(), x.double(), y),
        lambda one: one.observe(one.init_state(), x * torch.nan, y),
        lambda one: one.observe(one.init_state(), x, y + 6),
        lambda one: one.observe(one.init_state(), x, y.int()),
        lambda one: one.observe(one.init_state(2), x, y),
        lambda one: one.predict(one.init_state(), x),
        lambda one: one.init_state(codebook=torch.zeros(1, 6, dtype=torch.int64)),
        lambda one: one.init_state(codebook=torch.arange(5)[None]),
        lambda one: one.init_state(0),
        lambda one: one.observe(
            Learner(mambacl.SequenceConfig(CONFIG.encoder, CONFIG.target)).init_state(), x, y
        ),
    ]
    for call in calls:
        with pytest.raises(MambaclError) as engine:
            call(prototype)
        with pytest.raises(type(engine.value)) as own:
            call(learner)
        assert _argument(str(own.value)) == _argument(str(engine.value))


def _argument(message: str) -> str:
    """What a message says of which argument; states of other learners have words of their own."""
    return "state" if "tensors" in message else message.partition(" must ")[0]


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("Loud", LinearMemoryConfig, "`kind` must be of lower-case letters, .* got 'Loud'"),
        ("sequence", LinearMemoryConfig, "must not be one of the engine's, .* got 'sequence'"),
        ("new-one", int, "must derive from mambacl.LearnerConfig, got <class 'int'>"),
        ("new-one", type("Plain", (LearnerConfig,), {}), "must be a frozen dataclass, got the class Plain"),
        ("new-one", LearnerConfig, r"must have a method `build\(self, seed\)`, got none"),
        ("new-one", mambacl.OmlConfig, "must derive from none of the engine's kinds, got"),
        (
            "linear-memory",
            type("Other", (LinearMemoryConfig,), dict(vars(LinearMemoryConfig))),
            "is taken by",
        ),
    ],
)
def test_register_refuses(kind: str, settings: Any, message: str):
    with pytest.raises(ConfigError, match=message):
        mambacl.register(kind)(settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": ClassTarget(vocab=0)}, "`target.vocab` must be from 1 to 1048576, got 0"),
        ({"target": VectorTarget(dim=-1)}, "`target.dim` must be from 1 to 1048576, got -1"),
        ({"target": None}, "`target` must be ClassTarget or VectorTarget or AngleTarget, got NoneType"),
        ({"encoder": "images"}, "`encoder` must be CnnEncoder or VectorEncoder, got str"),
        ({"encoder": VectorEncoder(dim=0)}, "`dim` must be at least 1, got 0"),
        ({"d_model": 0}, "`d_model` must be from 1 to 1048576, got 0"),
        ({"d_key": torch.zeros(1)}, "`d_key` must be a number, a name or several, got Tensor"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        Learner(replace(CONFIG, **changes))


def test_settings_of_types_that_no_table_has_are_refused():
    @mambacl.register("odd")
    @dataclass(frozen=True)
    class Odd(LearnerConfig):
        layer: nn.Module | None = None

        def build(self, seed: int) -> nn.Module:
            return LinearMemory(CONFIG)

    try:
        with pytest.raises(
            ConfigError, match="model: Odd must have fields of types that tables have, got Unable"
        ):
            LearnerConfig.from_table({"kind": "odd"})
        with pytest.raises(
            ConfigError, match="Experiment: values must be those of JSON, got Object of type Linear"
        ):
            run_settings(Experiment("odd", model=Odd(layer=nn.Linear(1, 1))), 0)
    finally:
        del plugin_kinds.PLUGINS["odd"]


def test_what_init_state_draws_depends_on_its_seed():
    class Random(LinearMemory):
        def init_state(self, batch_size: int) -> Any:
            state = super().init_state(batch_size)
            return replace(state, keys=torch.rand_like(state.keys))

    with registered("random", lambda config, seed: Random(CONFIG)) as config:
        learner = Learner(config(CONFIG.encoder, CONFIG.target, d_model=8))
        before = torch.get_rng_state()
        one, same, other = (learner.init_state(seed=seed).layers[0].keys for seed in (1, 1, 2))
        assert torch.equal(one, same)
        assert not torch.equal(one, other)
        assert torch.equal(torch.get_rng_state(), before)


def test_a_module_that_is_wrapped_is_asked_and_not_saved():
    class Louder(nn.Module):
        def __init__(self, inner: LinearMemory) -> None:
            super().__init__()
            self.inner = inner
            self.init_state, self.observe = inner.init_state, inner.observe

        def predict(self, state: Any, x: Tensor) -> Tensor:
            return 2 * self.inner.predict(state, x)

    learner = Learner(CONFIG).eval()
    x, y = torch.randn(1, 2, 4), torch.tensor([[0, 1]])
    state = learner.observe(learner.init_state(), x, y)
    before = learner.predict(state, x)
    assert isinstance(learner.module, LinearMemory)
    learner.module = Louder(learner.module)
    torch.testing.assert_close(learner.predict(state, x), 2 * before)
    with pytest.raises(ConfigError, match="save_learner: the module must have the tensors that its settings"):
        learner.to_bytes()


def test_episodes_that_do_not_fit_are_refused():
    learner, episode = Learner(CONFIG), GaussianEpisodes(seed=0).batch(0, 2)
    with pytest.raises(ShapeError, match=r"must have shape \(batch = 2, vocab = 6\), got \[1, 6\]"):
        learner(replace(episode, codebook=episode.codebook[:1]))
    with pytest.raises(InvalidValueError, match="`codebook` must be a tensor of shape"):
        learner(replace(episode, codebook=None))
    with pytest.raises(InvalidValueError, match="`test_task` must be given, as `train_task` is, got None"):
        learner(replace(episode, train_task=episode.train_y))
    with pytest.raises(InvalidValueError, match="`batch` must be at least 1, got 0"):
        learner(replace(episode, train_x=torch.tensor(1.0)))


def test_a_state_of_another_dtype_is_named():
    learner = Learner(CONFIG).eval()
    x, y = torch.randn(1, 2, 4), torch.tensor([[0, 1]])
    state = learner.observe(learner.init_state(), x, y)
    learner.double()
    for call in (lambda: learner.observe(state, x.double(), y), lambda: learner.predict(state, x.double())):
        with pytest.raises(DtypeError, match=r"`state\.written` must be torch\.float64, as a new state has"):
            call()


def test_settings_that_are_not_registered_make_no_learner():
    @dataclass(frozen=True)
    class Unknown(LearnerConfig):
        def build(self, seed: int) -> nn.Module:
            return LinearMemory(CONFIG)

    with pytest.raises(ConfigError, match="must be of a registered kind, got Unknown of kind ''"):
        Learner(Unknown())


def test_files_name_what_is_missing_or_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    learner = Learner(CONFIG, seed=1).eval()
    save_learner(tmp_path / "model", learner)
    save_state(tmp_path / "state", learner.init_state(3), learner)
    with pytest.raises(FileError, match="must be a state of this model, whose fingerprint is"):
        load_state(tmp_path / "state", Learner(CONFIG, seed=2))
    with pytest.raises(FileError, match="must hold a plugin state, got 'plugin learner'"):
        load_state(tmp_path / "model", learner)
    data = bytearray((tmp_path / "model").read_bytes())
    data[-1] ^= 1
    (tmp_path / "damaged").write_bytes(data)
    with pytest.raises(FileError, match="is damaged: its sha256 must be"):
        load_learner(tmp_path / "damaged")
    monkeypatch.setattr(plugin_kinds, "PLUGINS", {})
    monkeypatch.setattr(LinearMemoryConfig, "__module__", "no_such_package.learners")
    (tmp_path / "elsewhere").write_bytes(learner.to_bytes())  # `save_learner` would read it again
    with pytest.raises(
        FileError, match=r"of kind 'linear-memory': the module `no_such_package\.learners` cannot be found"
    ):
        load_learner(tmp_path / "elsewhere")
    monkeypatch.setattr(LinearMemoryConfig, "__module__", "gaussian_episodes")
    (tmp_path / "elsewhere").write_bytes(learner.to_bytes())  # `save_learner` would read it again
    with pytest.raises(
        FileError, match="`gaussian_episodes` must register the kind 'linear-memory' when it is"
    ):
        load_learner(tmp_path / "elsewhere")


def test_modules_of_the_current_directory_are_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "bystander_a.py").write_text("raise SystemError('was run')\n")
    (tmp_path / "bystander_b.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    elsewhere = [path for path in sys.path if path not in ("", str(tmp_path))]
    monkeypatch.setattr(sys, "path", ["", *elsewhere])
    with pytest.raises(
        ConfigError, match="plugins: the module `bystander_a` must be installed or on PYTHONPATH"
    ):
        import_named("bystander_a", "plugins")
    with pytest.raises(ConfigError, match="`no_such_one` cannot be found"):
        import_named("no_such_one", "plugins")
    with pytest.raises(ConfigError, match=r"must name a module such as .*, got '\.\./evil'"):
        import_named("../evil", "plugins")
    monkeypatch.setattr(sys, "path", [*elsewhere, str(tmp_path)])  # asked for
    with pytest.raises(ConfigError, match="the import of `bystander_a` failed: SystemError: was run"):
        import_named("bystander_a", "plugins")
    import_named("bystander_b", "plugins")
    assert sys.modules.pop("bystander_b").__file__ == str(tmp_path / "bystander_b.py")


def test_entry_points_bring_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "entered_learners.py").write_text(
        "from dataclasses import dataclass\nimport mambacl\n"
        "@mambacl.register('entered')\n@dataclass(frozen=True)\n"
        "class EnteredConfig(mambacl.LearnerConfig):\n"
        "    def build(self, seed):\n        raise NotImplementedError\n"
    )
    info = tmp_path / "entered-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: entered\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[mambacl.learners]\nentered = entered_learners\nlost = entered_learners\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert {"entered", "lost", "linear-memory"} <= set(plugin_kinds.names())
    try:
        assert type(LearnerConfig.from_table({"kind": "entered"})).__name__ == "EnteredConfig"
        with pytest.raises(ConfigError, match="`entered_learners` must register 'lost'"):
            LearnerConfig.from_table({"kind": "lost"})
    finally:
        plugin_kinds.PLUGINS.pop("entered", None)
        sys.modules.pop("entered_learners", None)


def test_an_unknown_kind_is_answered_with_those_there_are():
    with pytest.raises(
        ConfigError, match=r"'linear-memory', got 'linear-memroy'; did you mean `linear-memory`\?"
    ):
        Experiment.from_table({"name": "x", "model": {"kind": "linear-memroy"}})
    with pytest.raises(ConfigError, match="plugins: the module `no_such_package` cannot be found"):
        Experiment.from_table(
            {"name": "x", "model": {"kind": "of-it"}, "plugins": {"modules": ["no_such_package"]}}
        )
    with pytest.raises(InvalidValueError, match="must have observed an example"):
        Learner(CONFIG).init_state().answers(torch.zeros(1, 1, 6))
