"""Features by a frozen encoder: computed once, kept whole or not at all."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mambacl.data.features import features
from mambacl.data.sets import Labelled
from mambacl.errors import DataError, InvalidValueError

TEXTS = [f"text {'x' * number}" for number in range(150)]


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MAMBACL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Lengths:
    """Texts to their length and its square, counting how many it has seen."""

    kind = "texts"
    dim = 2

    def __init__(self, key: str = "lengths-1") -> None:
        self.key = key
        self.seen: list[str] = []

    def encode(self, batch: Sequence[str]) -> Tensor:
        self.seen += batch
        return torch.tensor([[len(text), len(text) ** 2] for text in batch], dtype=torch.float32)


def labelled(key: str = "texts-1") -> Labelled[str]:
    return Labelled(
        key,
        ("short", "long"),
        torch.tensor([70, 80]),
        TEXTS.__getitem__,
        torch.arange(150) % 3,
        ("a", "b", "c"),
    )


def test_each_example_has_its_own_features_in_order():
    encoder = Lengths()
    classes = features(labelled(), encoder)
    expected = torch.tensor([[len(text), len(text) ** 2] for text in TEXTS]).float()
    assert torch.equal(classes.features, expected[:, None])
    assert encoder.seen == TEXTS
    assert classes.names == ("short", "long")
    assert classes.examples_per_class.tolist() == [70, 80]
    assert classes.domains.tolist() == [number % 3 for number in range(150)]
    assert classes.domain_names == ("a", "b", "c")


def test_the_second_time_nothing_is_read_or_encoded():
    def never(row: int) -> str:
        raise AssertionError(f"row {row} was read although its features are kept")

    first = features(labelled(), Lengths())
    encoder = Lengths()
    again = features(dataclasses.replace(labelled(), read=never), encoder)
    assert encoder.seen == []
    assert torch.equal(again.features, first.features)


def test_other_keys_are_other_features(folder: Path):
    features(labelled(), Lengths())
    for examples, key in (("texts-2", "lengths-1"), ("texts-1", "lengths-2"), ("texts-1/1", "lengths")):
        encoder = Lengths(key)
        features(labelled(examples), encoder)
        assert len(encoder.seen) == 150
    assert len(list(folder.iterdir())) == 4


@pytest.mark.parametrize("error", [KeyboardInterrupt, DataError("the file of row 100 is damaged")])
def test_what_is_interrupted_leaves_nothing(folder: Path, error: BaseException):
    def read(row: int) -> str:
        if row == 100:
            raise error
        return TEXTS[row]

    with pytest.raises((KeyboardInterrupt, DataError)):
        features(dataclasses.replace(labelled(), read=read), Lengths())
    assert list(folder.iterdir()) == []
    encoder = Lengths()
    assert len(features(labelled(), encoder).features) == len(encoder.seen) == 150


def test_a_killed_process_leaves_no_file_of_that_name(folder: Path):
    script = """
        import os, signal, sys
        sys.path.insert(0, "tests/python")
        from test_features import Lengths, TEXTS, labelled
        import dataclasses
        from mambacl.data.features import features
        def read(row):
            if row == 100:
                os.kill(os.getpid(), signal.SIGKILL)
            return TEXTS[row]
        features(dataclasses.replace(labelled(), read=read), Lengths())
    """
    here = Path(__file__).parents[2]
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False, cwd=here)
    assert killed.returncode == -9
    assert list(folder.glob("features-*")) == []
    encoder = Lengths()
    features(labelled(), encoder)
    assert len(encoder.seen) == 150


def test_a_damaged_file_is_computed_again(folder: Path, caplog: pytest.LogCaptureFixture):
    first = features(labelled(), Lengths()).features.clone()
    (file,) = folder.iterdir()
    good = file.read_bytes()
    for damaged in (good[:-3], good[:-3] + b"abc", b""):
        file.write_bytes(damaged)
        encoder = Lengths()
        assert torch.equal(features(labelled(), encoder).features, first)
        assert len(encoder.seen) == 150
        assert "damaged" in caplog.text
        assert file.read_bytes() == good
        caplog.clear()


def test_a_key_that_stands_for_two_sets_is_told():
    features(labelled(), Lengths())
    fewer = Labelled("texts-1", ("short",), torch.tensor([70]), TEXTS.__getitem__)
    with pytest.raises(DataError, match="names 70 examples"):
        features(fewer, Lengths())


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_what_is_not_finite_is_told_and_not_kept(folder: Path, wrong: float):
    class Broken(Lengths):
        def encode(self, batch: Sequence[str]) -> Tensor:
            encoded = super().encode(batch)
            if TEXTS[70] in batch:
                encoded[list(batch).index(TEXTS[70]), 1] = wrong
            return encoded

    with pytest.raises(DataError, match="NaN or infinity of example 70 of 'texts-1'"):
        features(labelled(), Broken())
    assert list(folder.iterdir()) == []


def test_an_encoder_of_another_shape_is_told():
    class Wide(Lengths):
        dim = 3

    with pytest.raises(DataError, match=r"must give \(64, 3\) float32, got \(64, 2\)"):
        features(labelled(), Wide())


def test_no_examples_are_no_features():
    empty = Labelled("nothing", (), torch.zeros(0, dtype=torch.int64), TEXTS.__getitem__)
    assert features(empty, Lengths()).features.shape == (0, 1, 2)


def test_some_domains():
    classes = features(labelled(), Lengths())
    some = classes.only(("c", "a"))
    kept = [row for row in range(150) if row % 3 != 1]
    assert torch.equal(some.features, classes.features[kept])
    assert some.examples_per_class.tolist() == [sum(row < 70 for row in kept), sum(row >= 70 for row in kept)]
    assert some.domains.tolist() == [row % 3 for row in kept]
    for wrong in (("d",), ()):
        with pytest.raises(InvalidValueError, match="`domains` must name some of a, b, c"):
            classes.only(wrong)
