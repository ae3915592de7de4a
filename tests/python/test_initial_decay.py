"""How fast the states of recurrent mixers decay before training: the setting, and what is older than it."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import mambacl
from mambacl import (
    GatedDeltaNetMixer,
    Learner,
    LearnerConfig,
    Mamba2Mixer,
    Mamba3Mixer,
    MambaMixer,
    SequenceConfig,
    VectorEncoder,
    experiments,
    reading,
)
from mambacl.errors import ConfigError, RunError
from mambacl.experiments.trained import run_settings
from mambacl.experiments.training_run import TrainingRun, as_begun
from mambacl.sweeps import read_sweep
from mambacl.sweeps.outcome import Results
from shell import Shell

RecurrentMixer = MambaMixer | Mamba2Mixer | Mamba3Mixer | GatedDeltaNetMixer
MIXERS: list[type[RecurrentMixer]] = [MambaMixer, Mamba2Mixer, Mamba3Mixer, GatedDeltaNetMixer]
OLD_FILE = Path(__file__).parents[1] / "data" / "learner.safetensors"


def config(mixer: RecurrentMixer) -> SequenceConfig:
    return SequenceConfig(VectorEncoder(4), d_model=64, n_layer=1, mixer=mixer)


def rates(mixer: RecurrentMixer) -> Tensor | None:
    """The first values of -A by layer and head; None where A is computed from the token alone."""
    tensors = Learner(config(mixer)).state_dict()
    log = tensors.get("backbone.layers.0.mixer.A_log")
    return None if log is None else log.exp()


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("decay", [None, 0.1, 2, 1e-6, 1e3])
def test_a_number_is_every_rate(mixer: type[RecurrentMixer], decay: float | None):
    found = rates(mixer() if decay is None else mixer(initial_decay=decay))
    assert found is not None
    torch.testing.assert_close(found, torch.full_like(found, 0.1 if decay is None else decay))


def test_published_is_as_published():
    found = rates(MambaMixer(d_state=5, initial_decay="published"))
    assert found is not None
    torch.testing.assert_close(found, torch.arange(1.0, 6.0).expand(128, 5))
    for mixer, slowest in (
        (Mamba2Mixer(headdim=1, initial_decay="published"), 1.0),
        (GatedDeltaNetMixer(n_head=64, initial_decay="published"), 1e-3),
    ):
        found = rates(mixer)
        assert found is not None
        assert slowest <= found.min() < slowest + 1
        assert 15 < found.max() <= 16 + 1e-5
    assert rates(Mamba3Mixer(initial_decay="published")) is None


def test_a_layer_of_mamba_ssm_stays_as_published():
    layer = mambacl.nn.Mamba(8, d_state=3)
    torch.testing.assert_close(layer.A_log.exp(), torch.arange(1.0, 4.0).expand(16, 3))


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("decay", [0.1, 3.0, "published"])
def test_json_and_toml_give_it_back(mixer: type[RecurrentMixer], decay: float | str):
    made = mixer(initial_decay=decay)
    text = config(made).to_json()
    assert json.loads(text)["mixer"]["initial_decay"] == decay
    assert LearnerConfig.from_table(json.loads(text)) == config(made)
    table = reading.parse_toml(f'[mixer]\nkind = "{made.kind}"\ninitial_decay = {json.dumps(decay)}')
    read = LearnerConfig.from_table(table)
    assert isinstance(read, SequenceConfig)
    assert read.mixer == made


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize(
    ("decay", "expected"),
    [
        *[(text, '"published" or a number') for text in ("slow", "Published", True, None, [0.1])],
        *[(number, "at least 1e-6") for number in (0, -0.1, 1e-7)],
        (1001, "at most 1000.0"),
    ],
)
def test_other_values_are_refused(mixer: type[RecurrentMixer], decay: Any, expected: str):
    message = re.escape(
        f"`mixer.initial_decay` must be {expected}, got {json.dumps(decay).replace('e-07', 'e-7')}"
    )
    with pytest.raises(ConfigError, match=message):
        Learner(config(mixer(initial_decay=decay)))
    with pytest.raises(ConfigError, match=message):
        LearnerConfig.from_table({"mixer": {"kind": mixer.kind, "initial_decay": decay}})


def test_a_learner_file_that_is_older_has_the_published_decay():
    learner = mambacl.load_learner(OLD_FILE)
    assert isinstance(learner.config, SequenceConfig)
    assert learner.config.mixer == MambaMixer(d_state=2, initial_decay="published")
    again = Learner.from_bytes(learner.to_bytes())
    assert (again.config, again.fingerprint()) == (learner.config, learner.fingerprint())
    slow = MambaMixer(d_state=2, initial_decay=0.1)
    other = Learner(dataclasses.replace(learner.config, mixer=slow))
    other.load_state_dict(learner.state_dict())
    assert other.fingerprint() == learner.fingerprint()  # the tensors tell what became of it


CHANGES = (
    *("data.tasks=2", "data.train_shots=1", "data.evaluation_test_shots=2"),
    *("model.d_model=16", "train.batch_size=2", "train.validation_episodes=2", "train.steps=5"),
)
SET = [part for change in CHANGES for part in ("--set", change)]


def without_the_setting(run: Path) -> Path:
    """A run as it was stored before there was the setting."""
    content = json.loads((run / "run.json").read_text())
    del content["settings"]["model"]["mixer"]["initial_decay"]
    (run / "run.json").write_text(json.dumps(content))
    return run


def learned(run: Path) -> bytes:
    return (run / "checkpoints" / "step-00000005" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("steps", [2, 0])
def test_a_run_that_is_older_goes_on_as_it_began(shell: Shell, tmp_path: Path, steps: int):
    """Before its first checkpoint too, where the first values are drawn anew."""
    published = experiments.load("glyphs-mamba", [*CHANGES, "model.mixer.initial_decay=published"])
    TrainingRun.begin(published, 0, tmp_path / "whole", resume=False).train(progress=False)
    began = TrainingRun.begin(published, 0, tmp_path / "old", resume=False)
    if steps:
        began.train(steps, progress=False)
    old = without_the_setting(tmp_path / "old")
    shell("train", "glyphs-mamba", *SET, "--run-dir", old, "--resume", "--quiet")
    assert learned(old) == learned(tmp_path / "whole")
    trained = mambacl.load_run(old)
    assert isinstance(trained.learner.config, SequenceConfig)
    assert trained.learner.config.mixer == MambaMixer(initial_decay="published")


def test_a_run_that_is_older_has_no_other_decay(shell: Shell, tmp_path: Path):
    published = experiments.load("glyphs-mamba", [*CHANGES, "model.mixer.initial_decay=published"])
    TrainingRun.begin(published, 0, tmp_path, resume=False)
    old = without_the_setting(tmp_path)
    resumed = ("train", "glyphs-mamba", *SET, "--run-dir", old, "--resume", "--quiet", "--set")
    said = shell.fails(*resumed, "model.mixer.initial_decay=0.5")
    assert "has `model.mixer.initial_decay` = published, got 0.5; a run goes on as it began" in said
    said = shell.fails(*resumed, "train.lr=1.0")
    assert "has `train.lr` = 0.002, got 1.0" in said


def test_a_run_of_today_keeps_its_decay(tmp_path: Path):
    usual = experiments.load("glyphs-mamba", CHANGES)
    assert as_begun(usual, tmp_path) == usual  # there is none yet
    TrainingRun.begin(usual, 0, tmp_path, resume=False)
    assert as_begun(usual, tmp_path) == usual


def test_a_run_of_mamba_3_that_is_older_is_read(tmp_path: Path):
    """Its checkpoint lacks the factor that a number brings."""
    changes = [*CHANGES, "model.mixer={kind='mamba3', d_state=4, headdim=8, initial_decay='published'}"]
    experiment = experiments.load("glyphs-mamba", changes)
    TrainingRun.begin(experiment, 0, tmp_path, resume=False).train(1, progress=False)
    trained = mambacl.load_run(without_the_setting(tmp_path), "last")
    assert trained.experiment.model == experiment.model
    assert trained.step == 1


SWEEP = """
experiment = "glyphs-mamba"

[model.mixer]
initial_decay = {decay}

[[learners]]
name = "mamba"
"""


def test_an_outcome_that_is_older_is_of_the_published_decay(tmp_path: Path):
    folder = Path(__file__).parents[2] / "docs/results/regulariser/cells"
    stored = json.loads((folder / "mamba-lr0.002-seed0.json").read_text())
    file = tmp_path / "one.toml"
    results = Results(tmp_path / "results")
    for decay, fits in (('"published"', True), ("0.1", False)):
        file.write_text(SWEEP.format(decay=decay))
        (cell,) = read_sweep(file).cells
        settings = run_settings(cell.experiment, 0)
        del settings["model"]["mixer"]["initial_decay"]
        results.file(cell).parent.mkdir(parents=True, exist_ok=True)
        results.file(cell).write_text(json.dumps({**stored, "settings": settings, "values": {}}))
        if fits:
            assert results.read(cell) is not None
        else:
            with pytest.raises(RunError, match="is of other settings than the sweep's"):
                results.read(cell)
