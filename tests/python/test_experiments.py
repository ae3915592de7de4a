"""Experiments: the package's files, changed settings, and what is refused by name."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mambacl import LearnerConfig, SequenceConfig, TrainConfig, experiments
from mambacl.config import (
    AttentionMixer,
    ClassTarget,
    CnnEncoder,
    MambaMixer,
    Mixer,
    PrototypeConfig,
    VectorEncoder,
)
from mambacl.data import AffineJitter
from mambacl.errors import ConfigError, InvalidValueError
from mambacl.experiments import EVALUATION_SEED, Experiment
from mambacl.experiments.data import Hanzi21Images
from mambacl.experiments.trained import run_settings


@pytest.mark.parametrize("name", experiments.names())
def test_every_file_reads_and_says_what_to_expect(name: str):
    experiment = experiments.load(name)
    assert experiment.name == name
    for text in (experiment.purpose, experiment.expected, experiment.time):
        assert len(text) > 8
    experiment.learner(seed=0)


def test_the_engine_and_python_have_the_same_defaults():
    assert LearnerConfig.from_table({}) == SequenceConfig()
    for mixer in get_args(get_args(Mixer)[0]):
        assert LearnerConfig.from_table({"mixer": {"kind": mixer.kind}}) == SequenceConfig(mixer=mixer())
    experiment = Experiment.from_table({"name": "plain"})
    assert (experiment.train, experiment.data) == (TrainConfig(), Hanzi21Images())


def test_settings_change_by_their_full_names():
    changes = [
        "train.lr=1e-4",
        "model.n_layer = 3",
        "model.selectivity.layers=[0, 2]",
        "data.jitter.degrees=5.0",
        "data.faces=['ming']",
        "model.mixer.d_state=8",
    ]
    experiment = experiments.load("glyphs-mamba", changes)
    assert experiment.train.lr == 1e-4
    assert experiment.model.n_layer == 3
    assert experiment.model.selectivity is not None
    assert experiment.model.selectivity.layers == (0, 2)
    assert experiment.data == Hanzi21Images(faces=("ming",), jitter=AffineJitter(degrees=5.0))
    assert experiment.model.mixer.d_state == 8


def test_a_change_of_kind_drops_the_settings_of_the_old_kind():
    changes = ["model.encoder.kind=vector", "model.encoder.dim=128", "data.kind=hanzi21-features"]
    experiment = experiments.load("glyphs-mamba", changes)
    assert experiment.data.input_shape == (128,)
    assert experiment.data.tasks == 5  # the default, not the file's


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("train.step=5", r"train: there is no setting `train\.step`; did you mean `train\.steps`\?"),
        ("train.steps=many", r"train: `train\.steps` must be a valid integer, got 'many'"),
        ("train.steps=1.5", r"train: `train\.steps` must be a valid integer, got 1\.5"),
        ("train.steps=0", "train: `steps` must be from 1 to 1,000,000,000, got 0"),
        ("train.lr=1979-05-27", "train: values must be those of JSON"),
        ("model.n_layers=3", r"configuration: `n_layers` is no setting; did you mean `n_layer`\?"),
        ("model.selectivity.wait=3", r"did you mean `selectivity\.weight`\?"),
        ("model.selectivity.heads=4", r"`selectivity\.heads` must be at most 1, the heads of a layer's"),
        ("model.feed_forward={kind='none', d_hidden=3}", r"`feed_forward\.d_hidden` is no setting"),
        ("model.d_model=wide", 'configuration: `d_model` must be an integer, got "wide"'),
        ("model.encoder.kind=cn", r"did you mean `cnn`\?"),
        (
            "model.mixer.kind=transformer",
            r"model: `model\.mixer\.kind` must be one of 'mamba', 'attention', .*, got 'transformer'; "
            r"did you mean `attention`\?",
        ),
        ("model.mixer.kind=Linear-Transformer", r"did you mean `linear_attention`\?"),
        ("model.kind=transformer", r"got 'transformer'; did you mean `model\.mixer\.kind=attention`\?"),
        ("model.kind=omll", r"`model\.kind` must be one of 'sequence', .*; did you mean `oml`\?"),
        ("model.feed_forward.kind=zzz", r"'none', 'mlp', 'experts', got 'zzz'$"),
        ("data.task=3", r"there is no setting `data\.task`; did you mean `data\.tasks`\?"),
        (
            "data.kind=omniglot",
            r"`data\.kind` must be one of 'hanzi21', 'hanzi21-features', .*'sine', .*, got 'omniglot'",
        ),
        ("data.jitter.zzz=3.0", r"there is no setting `data\.jitter\.zzz`, only "),
        ("data.jitter.scale=2.0", "AffineJitter: `scale` must be below 1, got 2"),
        ("train=5", "experiment: `train` must be a table, got 5"),
        (
            "colour=red",
            "experiment: there is no setting `colour`, only data, expected, model, name, plugins, purpose",
        ),
        ("modle.d_model=5", r"experiment: there is no setting `modle`; did you mean `model`\?"),
        ("trian.lr=1e-3", r"experiment: there is no setting `trian`; did you mean `train`\?"),
        ("lr=1e-3", r"experiment: there is no setting `lr`; did you mean `train\.lr`\?"),
        ("d_model=64", r"experiment: there is no setting `d_model`; did you mean `model\.d_model`\?"),
        ("n_layer=3", r"experiment: there is no setting `n_layer`; did you mean `model\.n_layer`\?"),
        ("selectivity.weight=0", r"no setting `selectivity`; did you mean `model\.selectivity`\?"),
        ("d_state=8", r"did you mean `model\.mixer\.d_state`\?"),
        (
            "experiment.train.lr=1e-3",
            "no setting `experiment`, only data, expected, model, name, plugins, purpose",
        ),
        ("data.zzz=3", r"`data\.zzz`, only data\.compound, [^`]*, data\.train_shots$"),
        (
            "data.set=hanzi21",
            r"`data\.set` where `data\.kind` is 'hanzi21', only where it is 'images' or 'features'$",
        ),
        ("data.tasks=65", r"`data\.tasks` must be at most `model\.target\.vocab` = 64, .*, got 65"),
        ("model.encoder.image_size=16", r"must take inputs of shape \(1, 32, 32\)"),
        ("model.target.kind=angle", r"`model\.target\.kind` must be 'class', .*, got 'angle'"),
        ("train.lr", "--set: a change must be a.b=c, such as train.lr=1e-3, got 'train.lr'"),
        ("train..lr=1", "--set: a change must be"),
        ("name.of=1", "--set: `name` of 'name.of' is no table"),
    ],
)
def test_what_makes_no_sense_is_told_by_name(change: str, message: str):
    with pytest.raises(ConfigError, match=message):
        experiments.load("glyphs-mamba", [change])


def test_a_part_that_a_file_leaves_out_is_changed_as_it_is_by_default(tmp_path: Path):
    file = tmp_path / "mine.toml"
    file.write_text("")
    changes = [
        "data.tasks=70",
        "model.target.vocab=128",
        "model.mixer.d_state=8",
        "model.encoder.channels=[8]",
    ]
    experiment = experiments.load(str(file), changes)
    assert experiment.model == SequenceConfig(
        CnnEncoder(channels=(8,)), ClassTarget(128), mixer=MambaMixer(8)
    )
    experiment = experiments.load(str(file), ["model.mixer.kind=attention", "model.mixer.n_head=2"])
    assert experiment.model == SequenceConfig(mixer=AttentionMixer(2))


def test_experiments_of_ones_own(tmp_path: Path):
    file = tmp_path / "mine.toml"
    file.write_text('purpose = "A test."\n[data]\nkind = "hanzi21"\ntasks = 3\n')
    experiment = experiments.load(str(file))
    assert (experiment.name, experiment.data.tasks) == ("mine", 3)
    with pytest.raises(ConfigError, match=r"other\.toml` cannot be read"):
        experiments.load(str(tmp_path / "other.toml"))
    file.write_text("tasks = = 3")
    with pytest.raises(ConfigError, match=r"mine\.toml` cannot be read: .*line 1"):
        experiments.load(str(file))
    with pytest.raises(ConfigError, match="none named 'glyph-mamba'; did you mean 'glyphs-mamba'"):
        experiments.load("glyph-mamba")


def test_only_toml_files_are_experiments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("one.toml", "README.md", ".one.toml.swp"):
        (tmp_path / name).touch()
    monkeypatch.setattr("mambacl.experiments.files._FOLDER", tmp_path)
    assert experiments.names() == ["one"]


def test_a_learner_of_another_kind_keeps_encoder_and_width():
    experiment = experiments.load("features-mamba", ["model.kind=prototype", "model.target.vocab=8"])
    assert experiment.model == PrototypeConfig(VectorEncoder(128), ClassTarget(8), 128)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["model", "train", "data", "d_model", "encoder", "kind", "steps", "tasks", "lr"])


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(KEYS, JSON | st.dictionaries(KEYS, JSON, max_size=3), max_size=3))
def test_any_table_is_an_experiment_or_an_error_of_settings(table: dict[str, object]):
    with contextlib.suppress(ConfigError):
        Experiment.from_table({"name": "any", **table})


def test_runs_are_compared_on_identical_episodes():
    experiment = experiments.load("glyphs-mamba")
    assert torch.equal(
        experiment.source("test", 1).episode(3).train_x, experiment.source("test", 2).episode(3).train_x
    )
    assert not torch.equal(
        experiment.source("train", 1).episode(3).train_x, experiment.source("train", 2).episode(3).train_x
    )
    assert experiment.source("validation").seed == EVALUATION_SEED
    with pytest.raises(InvalidValueError, match='`seed` must be that of the run for "train", got None'):
        experiment.source("train")


def test_sizes_of_an_evaluation_are_free():
    source = experiments.load("glyphs-mamba").source("validation", tasks=20, train_shots=3)
    assert (source.spec.tasks, source.spec.train_shots, source.spec.test_shots) == (20, 3, 5)
    with pytest.raises(ConfigError, match=r"`tasks` must be at most `model\.target\.vocab` = 64, .*, got 65"):
        experiments.load("glyphs-mamba").source("validation", tasks=65)


def test_faces_may_differ_between_training_and_test():
    experiment = experiments.load(
        "glyphs-mamba",
        [
            "data.faces=['ming','gothic']",
            "data.test_faces=['brush']",
            "data.train_shots=2",
            "data.evaluation_test_shots=2",
        ],
    )
    assert int(experiment.source("train", 0).classes.examples_per_class.max()) == 8
    assert int(experiment.source("test").classes.examples_per_class.max()) == 5


def test_a_run_s_settings_come_back_as_the_experiment():
    experiment = experiments.load("glyphs-mamba", ["data.jitter.degrees=5.0", "model.selectivity.end_step=3"])
    table = json.loads(json.dumps(run_settings(experiment, seed=7)))
    assert table.pop("seed") == 7
    again = Experiment.from_table(table)
    assert (again.model, again.train, again.data) == (experiment.model, experiment.train, experiment.data)
