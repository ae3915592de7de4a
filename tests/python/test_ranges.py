"""Ranges of numbers: every numeric setting and argument has one, and is refused outside it by its name."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest

from mambacl import experiments, settings
from mambacl.cli import Command
from mambacl.commands.data import Prepare
from mambacl.data import AffineJitter
from mambacl.encoder_training.glyph_encoder import TrainGlyphEncoder
from mambacl.errors import ConfigError
from mambacl.experiments.data import Data, EncodedFeatures
from mambacl.ranges import Range, check, ranges_of
from mambacl.reading import shown
from mambacl.settings import Settings
from mambacl.streams.comparison.__main__ import Comparison
from mambacl.streams.pretrain import Pretrain
from mambacl.studies import Scale
from mambacl.sweeps.sweep import Sizes
from mambacl.training import TrainConfig
from shell import Shell

COMMANDS = [*(typing.get_args(one)[0] for one in typing.get_args(Command)), Prepare, Pretrain, Comparison]
KINDS = [*typing.get_args(typing.get_args(Data)[0])]
ALL = [TrainConfig, Sizes, Scale, *KINDS, *COMMANDS, TrainGlyphEncoder]

OUTSIDE = {
    "NaN": math.nan,
    "infinity": math.inf,
    "401 digits": 10**400,
    "5001 digits": 10**5000,
    "a negative number": -1,
}


@dataclasses.dataclass(frozen=True)
class Drawing(Settings):
    side: Annotated[int, Range(1, 64)] = 8
    ink: Annotated[float, Range(0, 1, below=True)] | None = None
    at: tuple[Annotated[float, Range(-5, 5, above=True)], ...] = ()
    name: str = ""


def short(value: object) -> str:
    """The name of a case; Python makes no text of an integer of 5000 digits."""
    return shown(value)[:40]


def numbers(hint: Any) -> Iterator[type]:
    """The numeric types in a type."""
    if hint in (int, float):
        yield hint
    for part in typing.get_args(hint):
        yield from numbers(part)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_number_has_a_range(kind: type):
    hints = typing.get_type_hints(kind)
    numeric = {field.name for field in dataclasses.fields(kind) if any(numbers(hints[field.name]))}
    assert numeric == set(ranges_of(kind))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"side": 0}, "Drawing: `side` must be from 1 to 64, got 0"),
        ({"side": 65}, "Drawing: `side` must be from 1 to 64, got 65"),
        ({"side": True}, "Drawing: `side` must be from 1 to 64, got True"),
        ({"side": 10**5000}, "Drawing: `side` must be from 1 to 64, got an integer of about 5001 digits"),
        ({"ink": 1.0}, "Drawing: `ink` must be at least 0 and below 1, got 1.0"),
        ({"ink": math.nan}, "Drawing: `ink` must be at least 0 and below 1, got nan"),
        ({"at": (0.0, -5.0)}, "Drawing: `at` must be above -5 and at most 5, got -5.0"),
    ],
    ids=short,
)
def test_a_number_out_of_its_range(changes: dict[str, Any], told: str):
    with pytest.raises(ConfigError) as caught:
        Drawing(**changes)
    assert str(caught.value) == told


def test_numbers_at_the_ends_of_their_ranges():
    assert Drawing(64, 0, (5.0, -4.9)).side == 64
    assert settings.read(Drawing, {"side": 1, "ink": None}, "drawing") == Drawing(1)


def test_options_are_called_as_on_the_command_line():
    @dataclasses.dataclass
    class Cut:
        most_parts: Annotated[int, Range(1, 2)] = 3

    with pytest.raises(ConfigError, match=r"^cut: `--most-parts` must be from 1 to 2, got 3$"):
        check(Cut(), "cut", option=True)


@pytest.mark.parametrize("name", ranges_of(TrainConfig))
@pytest.mark.parametrize("number", OUTSIDE.values(), ids=OUTSIDE)
def test_no_setting_of_training_takes_it(name: str, number: Any):
    value = (number, 0.9) if name == "betas" else number
    with pytest.raises(ConfigError, match=f"^train: `{name}` must be "):
        TrainConfig(**{name: value})


@pytest.mark.parametrize("name", ranges_of(EncodedFeatures))
@pytest.mark.parametrize("number", OUTSIDE.values(), ids=OUTSIDE)
def test_no_setting_of_data_takes_it(name: str, number: Any):
    known = {"set": "hanzi21", "encoder": "glyphs", "dim": 8}
    with pytest.raises(ConfigError, match=f"^data: `{name}` must be "):
        EncodedFeatures(**{**known, name: number})


def test_an_episode_of_too_many_examples():
    with pytest.raises(ConfigError, match=r"the examples of an episode, must be at most 1,000,000, got 10,0"):
        experiments.load("sine-mamba", ["data.tasks=100_000", "data.train_shots=98"])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("train.steps=" + "8" * 400, r"--set: train\.steps: .*steps` must be from -2\^63 to 2\^64 - 1, got "),
        ("train.steps=" + "8" * 5000, r"--set: train\.steps: an integer must be from -2\^63 .* digits"),
        ("train.steps=0x" + "8" * 5000, r"--set: train\.steps: .* got an integer of about 60\d\d digits"),
        ("train.steps=4_000_000_000", r"train: `steps` must be from 1 to 1,000,000,000, got 4000000000"),
        ("train.lr=1e300", r"train: `lr` must be above 0 and at most 1,000, got 1e\+300"),
        ("train.lr=1e999", r"--set: train\.lr: a number must be within the range of float64, got 1e999"),
        ("train.lr=inf", "train: `lr` must be above 0 and at most 1,000, got inf"),
        ("train.batch_size=1_000_000_000", "train: `batch_size` must be from 1 to 16,384, got 1000000000"),
        ("train.steps=true", r"train: `train\.steps` must be a valid integer, got True"),
        ("data.tasks=1.0", r"data\.tasks` must be a valid integer, got 1\.0"),
        ("train.lr='1e-3'", r"train: `train\.lr` must be a valid number, got '1e-3'"),
        (".".join("a" * 500) + "=1", "--set: a name must have at most 9 parts, got 500"),
        ("train.lr=" + "[" * 500, "--set: train.lr: tables and lists must be at most 64 deep"),
    ],
    ids=short,
)
def test_a_change_out_of_range_names_its_setting(text: str, told: str):
    with pytest.raises(ConfigError, match=told):
        experiments.load("sine-mamba", [text])


@pytest.mark.parametrize("number", ["0", "-3", "9" * 12, "9" * 400, "9" * 5000], ids=short)
def test_no_number_of_the_command_line_ends_in_a_traceback(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str
):
    monkeypatch.chdir(tmp_path)
    for command, option in (
        (("train", "glyphs-mamba"), "--steps"),
        (("train", "glyphs-mamba", "--seeds", "0,1"), "--jobs"),
        (("evaluate", "run"), "--tasks"),
        (("evaluate", "run"), "--shots"),
        (("evaluate", "run"), "--episodes"),
        (("evaluate", "run"), "--matrix-episodes"),
        (("sweep", "features-5x5"), "--jobs"),
        (("study", "tasks"), "--episodes"),
        (("bench",), "--lengths"),
        (("bench",), "--examples"),
        (("data", "prepare", "emoji"), "--side"),
        (("export", "run", "file"), "--checkpoint"),
    ):
        said = shell.fails(*command, option, number)
        if len(number) < 1000:  # of more digits Python makes no number: the parser says so
            assert f"mambacl: {command[0]}: `{option}` must be from " in said
    assert not [*tmp_path.iterdir()]


def test_jitter_is_finite():
    with pytest.raises(ConfigError, match="AffineJitter: `degrees` must be finite"):
        AffineJitter(degrees=math.inf)
