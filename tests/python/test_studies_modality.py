"""The study of modalities: what is asked, how it is told, and end to end with encoders that take no time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib import pyplot as plt
from torch import Tensor

from mambacl.encoders import extras
from mambacl.encoders.registry import known_encoder
from mambacl.errors import ConfigError
from mambacl.evaluation import evaluate, evaluate_predictor
from mambacl.experiments.data import features as feature_data
from mambacl.experiments.files import load
from mambacl.experiments.trained import load_run
from mambacl.studies import Places, Scale, Told, conduct
from mambacl.studies.modality import MODALITIES, Accuracy, Bar, Modality
from mambacl.sweeps import read_sweep
from mambacl.sweeps.files import sweep_file
from mambacl.yardsticks import class_mean, nearest_neighbour
from written_outcomes import written_outcome


class Digests:
    """Texts or pictures to numbers that tell nothing of them but whether they are the same."""

    def __init__(self, name: str, dim: int) -> None:
        self.key, self.dim, self.kind = f"digests-{dim}", dim, known_encoder(name).kind

    def encode(self, batch: Sequence[Any]) -> Tensor:
        return torch.stack([self._digest(one if isinstance(one, str) else one.tobytes()) for one in batch])

    def _digest(self, example: str | bytes) -> Tensor:
        contents = example.encode() if isinstance(example, str) else example
        seed = int.from_bytes(hashlib.sha256(contents).digest()[:7], "big")
        return torch.randn(self.dim, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def digests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Encoders that take no time, under names of real ones."""
    monkeypatch.setenv("MAMBACL_CACHE", str(tmp_path / "cache"))
    dims = {"wordllama": 256, "efficientnet-lite0": 1280}
    monkeypatch.setattr(feature_data, "_encoder", lambda name: Digests(name, dims[name]))


@pytest.mark.usefixtures("digests")
def test_the_study_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Modality, "asks", lambda self, sweep, learner: learner in ("mamba", "prototype"))
    places, scale = Places(tmp_path / "runs", tmp_path / "results"), Scale.to_try()
    page = conduct(Modality(), scale, places)
    text = page.read_text()
    assert Modality.question in text
    assert "(accuracy.png)" in text
    rows = [line.split("|")[1].strip() for line in text.splitlines() if "±" in line and "|" in line]
    assert rows == [
        *("mamba", "prototype"),
        *("class mean", "nearest neighbour", "ridge regression"),
    ]
    for sweep in MODALITIES:
        trained = load_run(places.runs / sweep / "prototype-seed0")
        source = trained.experiment.source("test")
        assert Modality().ask(trained, scale) == Accuracy.of(evaluate(trained.learner, source, 4).score)
        found = Modality().ask_yardsticks(trained.experiment, scale)
        for name, yardstick in (("class mean", class_mean), ("nearest neighbour", nearest_neighbour)):
            assert found[name] == Accuracy.of(evaluate_predictor(yardstick, source, 4))


def test_learners_stand_above_yardsticks_in_each_modality():
    def told(sweep: str, learner: str, seed: int | None, mean: float) -> Told[Accuracy]:
        outcome = None if seed is None else written_outcome(f"{sweep}-mamba", learner, seed=seed)
        return Told(sweep, learner, Accuracy(mean, 0.01), seed, outcome)

    report = Modality().report(
        [
            told("glosses", "class mean", None, 0.7),
            told("glosses", "mamba", 0, 0.6),
            told("glosses", "mamba", 1, 0.8),
            told("emoji", "prototype", 0, 0.5),
            told("emoji", "class mean", None, 0.4),
        ]
    )
    ((caption, table),) = report.tables.items()
    assert "of several seeds the mean, from the lowest to the highest" in caption
    assert table.splitlines() == [
        "| learner | definitions, WordLlama | emoji, EfficientNet-Lite0 |",
        "| --- | --- | --- |",
        "| mamba | 0.700 (0.600 to 0.800) | - |",
        "| prototype | - | 0.500 ± 0.010 |",
        "| class mean | 0.700 ± 0.010 | 0.400 ± 0.010 |",
    ]
    glosses, emoji = report.figures["accuracy"].axes
    assert [ax.get_title() for ax in (glosses, emoji)] == list(MODALITIES.values())
    assert [label.get_text() for label in glosses.get_yticklabels()] == ["mamba", "class mean"]
    assert [patch.get_width() for patch in emoji.patches] == [0.5, 0.4]
    assert [patch.get_hatch() for patch in emoji.patches] == [None, "///"]  # apart without colour
    assert list(emoji.lines[-1].get_xdata()) == [0.2, 0.2]
    assert emoji.texts[-1].get_text() == " chance"
    plt.close(report.figures["accuracy"])


def test_a_modality_without_answers_is_left_out():
    report = Modality().report([Told("emoji", "class mean", Accuracy(0.4, 0.01))])
    (ax,) = report.figures["accuracy"].axes
    assert ax.get_title() == "emoji, EfficientNet-Lite0"
    assert [text.get_text() for text in ax.texts] == ["0.400"]  # and no chance
    plt.close(report.figures["accuracy"])


def test_seeds_are_told_from_the_lowest_to_the_highest():
    three = Bar("mamba", (Accuracy(0.5, 0.1), Accuracy(0.9, 0.1), Accuracy(0.7, 0.1)), learned=True)
    assert three.summary.mean == pytest.approx(0.7)
    assert (three.summary.low, three.summary.high) == (0.5, 0.9)
    one = Bar("mamba", three.seeds[:1], learned=True).summary
    assert (one.low, one.high) == pytest.approx((0.4, 0.6))


@pytest.mark.parametrize("name", MODALITIES)
def test_the_sweeps_have_the_learning_rates_that_were_chosen(name: str):
    sweep = read_sweep(sweep_file(name))
    rates = {cell.learner: cell.experiment.train.lr for cell in sweep.cells}
    assert rates == {"mamba": 4e-3, "mamba-unguided": 4e-3, "transformer": 1e-3, "prototype": 1e-3}
    assert {cell.experiment.train.steps for cell in sweep.cells} == {1500}
    assert {cell.experiment.data for cell in sweep.cells} == {load(f"{name}-mamba").data}


@pytest.mark.parametrize("name", MODALITIES)
def test_an_encoder_that_is_not_installed_is_told_when_data_are_loaded(
    name: str, monkeypatch: pytest.MonkeyPatch
):
    feature_data._encoder.cache_clear()
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    experiment = load(f"{name}-mamba")
    experiment.learner(0)
    with pytest.raises(ConfigError, match=r"needs .*; pip install '\.\[encoders\]' in the checkout"):
        experiment.source("test")


def test_emoji_are_enough_for_an_episode():
    sizes = load("emoji-mamba").data.sizes("test", None, None)
    assert sizes.train_shots + sizes.test_shots == 7
