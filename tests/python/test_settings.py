"""Settings are read strictly, and what is wrong is told with its place."""

from __future__ import annotations

import datetime
import json
import math
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Discriminator

from mambacl import SequenceConfig, TrainConfig, settings
from mambacl.errors import ConfigError
from mambacl.settings import Settings


@dataclass(frozen=True)
class Square(Settings):
    width: int
    kind: Literal["square"] = field(default="square", kw_only=True)


@dataclass(frozen=True)
class Circle(Settings):
    radius: float = 1.0
    kind: Literal["circle"] = field(default="circle", kw_only=True)

    def __post_init__(self) -> None:
        if self.radius < 0:
            raise ValueError(f"`radius` must be at least 0, got {self.radius}")


@dataclass(frozen=True)
class Drawing(Settings):
    name: str
    copies: int = 1
    scale: float = 1.0
    shape: Annotated[Square | Circle, Discriminator("kind")] = Circle()
    colours: tuple[str, ...] = ()
    corner: tuple[float, float] = (0.0, 0.0)
    frame: Square | None = None
    layers: Literal["every", "upper"] | tuple[int, ...] = "every"


def test_a_table_gives_settings():
    table = {"name": "a", "shape": {"kind": "square", "width": 3}, "colours": ["red"], "frame": {"width": 1}}
    read = settings.read(Drawing, table, "drawing")
    assert read == Drawing("a", shape=Square(3), colours=("red",), frame=Square(1))


def test_a_whole_number_stands_for_a_real_one():
    assert settings.read(Drawing, {"name": "a", "scale": 2}, "drawing").scale == 2.0


@pytest.mark.parametrize(
    "kept",
    [
        Drawing("a", 2, 0.5, Square(3), ("x", "y"), (1.0, 2.0), Square(1), (0, 1)),
        TrainConfig(lr=0.1, betas=(0.5, 0.6)),
        SequenceConfig(),
    ],
)
def test_settings_come_back_from_their_table(kept: Settings):
    table = settings.table(kept)
    assert json.loads(json.dumps(table)) == table
    assert settings.read(type(kept), table, "kept") == kept


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"copys": 2}, "drawing: there is no setting `drawing.copys`; did you mean `drawing.copies`?"),
        ({"zzz": 2}, "drawing: there is no setting `drawing.zzz`, only drawing.colours, drawing.copies, "),
        (
            {"shape": {"kind": "square", "widht": 2, "width": 1}},
            "drawing: there is no setting `drawing.shape.widht`; did you mean `drawing.shape.width`?",
        ),
        (
            {"shape": {"kind": "circle", "width": 2}},
            "drawing: there is no setting `drawing.shape.width` where `drawing.shape.kind` is 'circle', only "
            "where it is 'square'",
        ),
        (
            {"shape": {"kind": "circle", "zzz": 2}},
            "drawing: there is no setting `drawing.shape.zzz`, only drawing.shape.kind, drawing.shape.radius",
        ),
        ({"width": 2}, "drawing: there is no setting `drawing.width`; did you mean `drawing.shape.width`?"),
        ({1: 2}, "drawing: there is no setting `drawing.1`, only drawing.colours, drawing.copies"),
        ({"frame": {}}, "drawing: the setting `drawing.frame.width` is missing"),
        ({"shape": {"kind": "square"}}, "drawing: the setting `drawing.shape.width` is missing"),
        ({"shape": {"width": 1}}, "drawing: the setting `drawing.shape.kind` is missing"),
        (
            {"shape": {"kind": "oval"}},
            "drawing: `drawing.shape.kind` must be one of 'square', 'circle', got 'o",
        ),
        (
            {"shape": {"kind": [1]}},
            "drawing: `drawing.shape.kind` must be one of 'square', 'circle', got [",
        ),
        ({"shape": 3}, "drawing: `drawing.shape` must be a table, got 3"),
        ({"copies": "2"}, "drawing: `drawing.copies` must be a valid integer, got '2'"),
        ({"copies": True}, "drawing: `drawing.copies` must be a valid integer, got True"),
        ({"copies": 2.0}, "drawing: `drawing.copies` must be a valid integer, got 2.0"),
        ({"copies": None}, "drawing: `drawing.copies` must be a valid integer, got None"),
        ({"colours": ["red", 3]}, "drawing: `drawing.colours.1` must be a valid string, got 3"),
        ({"colours": "red"}, "drawing: `drawing.colours` must be a list, got 'red'"),
        ({"corner": [1, 2, 3]}, "drawing: `drawing.corner` must be a list of at most 2, got [1, 2, 3]"),
        ({"corner": [1]}, "drawing: the setting `drawing.corner.1` is missing"),
        ({"layers": "first"}, "drawing: `drawing.layers` must be 'every' or 'upper', or a list, got 'first'"),
        ({"layers": [0, 1.5]}, "drawing: `drawing.layers.1` must be a valid integer, got 1.5"),
        ({"shape": {"kind": "circle", "radius": -1}}, "drawing: `radius` must be at least 0, got -1.0"),
        (
            {"name": datetime.date(2026, 1, 1)},
            "drawing: values must be those of JSON, got Object of type date",
        ),
        ({"name": "\ud800"}, "drawing: values must be those of JSON, got Invalid JSON"),
    ],
)
def test_what_is_wrong_is_told(change: dict[Any, Any], message: str):
    with pytest.raises(ConfigError) as error:
        settings.read(Drawing, {"name": "a", **change}, "drawing")
    assert str(error.value).startswith(message)


def test_a_missing_name():
    with pytest.raises(ConfigError, match=r"^drawing: the setting `drawing.name` is missing$"):
        settings.read(Drawing, {}, "drawing")


def test_a_table_without_a_name_has_settings_by_their_keys():
    with pytest.raises(ConfigError, match=r"^copies: `copies` must be a valid integer, got 'x'$"):
        settings.read(Drawing, {"name": "a", "copies": "x"}, "")
    with pytest.raises(ConfigError, match=r"^coppies: there is no setting `coppies`; did you mean `copies`"):
        settings.read(Drawing, {"name": "a", "coppies": 2}, "")


def test_a_table_of_a_whole_file_is_named_once():
    with pytest.raises(ConfigError, match=r"^drawing: `copies` must be a valid integer, got 'x'$"):
        settings.read(Drawing, {"name": "a", "copies": "x"}, "drawing", named=False)
    with pytest.raises(ConfigError, match=r"^drawing: there is no setting `copys`; did you mean `copies`\?$"):
        settings.read(Drawing, {"name": "a", "copys": 2}, "drawing", named=False)


def test_a_check_that_names_its_part_is_told_once():
    with pytest.raises(ConfigError, match=r"^train: `steps` must be from 1 to 1,000,000,000, got 0$"):
        settings.read(TrainConfig, {"steps": 0}, "train")


def test_a_table_too_deep():
    table: dict[str, Any] = {}
    for _ in range(5000):
        table = {"name": table}
    with pytest.raises(ConfigError, match=r"^drawing: tables and lists must be at most 64 deep"):
        settings.read(Drawing, table, "drawing")


NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, 2**64, -1, math.inf])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def tables(kind: type[Settings]) -> st.SearchStrategy[dict[str, Any]]:
    """Any table, with the names of a kind of settings among its keys."""
    known = st.sampled_from(sorted(kind.__dataclass_fields__))
    kinds = st.sampled_from(["square", "circle", "oval"])
    shapes = st.fixed_dictionaries({"kind": kinds}, optional={"width": VALUES, "radius": VALUES})
    return st.dictionaries(known | st.text(max_size=8), VALUES | shapes, max_size=4)


@given(tables(Drawing))
def test_any_table_gives_a_drawing_or_an_error(table: dict[str, Any]):
    given_or_refused(Drawing, {"name": "a", **table})


@given(tables(TrainConfig))
def test_any_table_gives_training_or_an_error(table: dict[str, Any]):
    given_or_refused(TrainConfig, table)


def given_or_refused(kind: type[Settings], table: dict[str, Any]) -> None:
    try:
        read = settings.read(kind, table, "part")
    except ConfigError:
        return
    for key, value in table.items():
        kept = getattr(read, key)  # every key was a setting
        if isinstance(value, str | bool | int) and not isinstance(kept, float):
            assert kept == value
