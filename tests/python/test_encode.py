"""`mambacl encode`, and experiments on what it computes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import mambacl
from mambacl import toml_files
from mambacl.commands import encode
from mambacl.data import Split
from mambacl.data.feature_file import feature_file
from mambacl.data.sets import DataSet, Labelled
from mambacl.errors import ConfigError
from mambacl.experiments.data import features as feature_data
from mambacl.experiments.experiment import Experiment
from shell import Shell


class Squares(DataSet):
    """Grey squares: four classes in each split, three squares of each, of two makers."""

    def __init__(self) -> None:
        super().__init__(name="squares", kind="images", summary="Squares.")

    def _load(self, split: Split, root: Path | None) -> Labelled[Image.Image]:
        names = tuple(f"{split} {number}" for number in range(4))
        return Labelled(
            f"squares-{split}",
            names,
            torch.full((4,), 3),
            lambda row: Image.new("L", (4, 4), 10 * row + len(split)),
            torch.arange(12) % 2,
            ("her", "him"),
        )


class Mean:
    """The mean grey, and one."""

    key, dim, kind = "mean-1", 2, "images"

    def encode(self, batch: Sequence[Image.Image]) -> Tensor:
        return torch.tensor([[float(picture.getpixel((0, 0))), 1.0] for picture in batch])


@pytest.fixture(autouse=True)
def small_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A set and an encoder that take no time, under names of real ones."""
    monkeypatch.setenv("MAMBACL_CACHE", str(tmp_path / "cache"))
    for module in (encode, feature_data):
        monkeypatch.setattr(module, "data_set", lambda _: Squares())
        monkeypatch.setattr(module, "frozen_encoder", lambda _: Mean())
    feature_data._encoder.cache_clear()


def experiment(settings: dict[str, Any], **data: Any) -> Experiment:
    """Of the settings that the command printed."""
    sizes = {"tasks": 2, "train_shots": 1, "test_shots": 1, "evaluation_test_shots": 1}
    table = {
        "name": "mine",
        "model": {"d_model": 16, **settings["model"]},
        "train": {"steps": 3, "batch_size": 2, "validation_episodes": 2},
        "data": {**settings["data"], **sizes, **data},
    }
    return Experiment.from_table(table)


def printed(said: str, file: Path) -> dict[str, Any]:
    file.write_text(said.partition("In an experiment:")[2])
    return toml_files.read("settings", file)


def trained_on(made: Experiment) -> None:
    validation = made.source("validation")
    history = mambacl.meta_train(
        made.learner(0), made.source("train", 0), made.train, validation=validation, progress=False
    )
    assert len(history.steps) == 3


@pytest.mark.parametrize("out", [False, True])
def test_what_is_printed_is_an_experiment(shell: Shell, tmp_path: Path, out: bool):
    options = ["--out", tmp_path / 'a "quoted" folder' / "squares.safetensors"] if out else []
    said = shell("encode", "squares", "--encoder", "glyphs", "--quiet", *options)
    assert re.search(r"test: 4 classes, 12 examples, 2 numbers each, in [\d.]+ s", said)
    settings = printed(said, tmp_path / "printed.toml")
    assert settings["data"]["kind"] == ("feature-file" if out else "features")
    made = experiment(settings)
    trained_on(made)
    episode = made.source("test").batch(0, 8)
    assert set(episode.train_x[..., 0].flatten().tolist()) <= {10.0 * row + 4 for row in range(12)}


def test_the_file_has_all_splits(shell: Shell, tmp_path: Path):
    shell("encode", "squares", "--encoder", "glyphs", "--quiet", "--out", tmp_path / "x.safetensors")
    splits = feature_file(tmp_path / "x.safetensors")
    for split, classes in splits.items():
        assert classes.names == tuple(f"{split} {number}" for number in range(4))
        assert classes.features[:, 0, 0].tolist() == [10.0 * row + len(split) for row in range(12)]


def test_faces_are_domains(shell: Shell, tmp_path: Path):
    settings = printed(
        shell("encode", "squares", "--encoder", "glyphs", "--quiet"), tmp_path / "printed.toml"
    )
    made = experiment(settings, faces=["her"], test_faces=["him"], train_shots=1, tasks=1)
    train, test = (
        made.data.classes(split)  # pyright: ignore[reportAttributeAccessIssue]
        for split in ("train", "test")
    )
    assert set(train.domains.tolist()) == {0}
    assert set(test.domains.tolist()) == {1}


def test_settings_that_do_not_fit():
    settings = {
        "data": {"kind": "features", "set": "squares", "encoder": "glyphs", "dim": 3},
        "model": {"encoder": {"kind": "vector", "dim": 3}},
    }
    with pytest.raises(ConfigError, match=r"`data\.dim` must be 2, as the features have, got 3"):
        experiment(settings).source("train", 0)
    settings["data"]["encoder"] = "wordllama"
    with pytest.raises(ConfigError, match=r"must read images.*'wordllama', which reads texts"):
        experiment(settings).source("train", 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "a data set and `--encoder` must be given"),
        (["squares"], "a data set and `--encoder` must be given"),
        (["squares", "--encoder", "glyph"], "did you mean 'glyphs'"),
        (["squares", "--encoder", "wordllama"], "must read images"),
        (["squares", "--encoder", "glyphs", "--out", "x.npz"], "must end in .safetensors"),
    ],
)
def test_what_goes_wrong_is_told_before_anything_is_computed(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
):
    monkeypatch.setattr(encode, "features", lambda *_, **__: pytest.fail("it computed"))
    with pytest.raises(SystemExit) as stop:
        shell("encode", *arguments)
    assert message in str(stop.value.code)


def test_the_list_names_every_encoder(shell: Shell):
    said = shell("encode", "--list")
    for name in ("efficientnet-lite0", "wordllama", "glyphs", "clip:", "clip-text:", "torchvision:"):
        assert name in said
    assert said.count("Licence: ") == 6
    assert "pip install '.[vision]' in the checkout" in said
