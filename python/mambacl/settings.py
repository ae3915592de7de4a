"""Settings: frozen dataclasses that are read from tables, strictly."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, TypeVar, Union

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from mambacl import ranges, reading
from mambacl.errors import ConfigError


class Settings:
    """What every dataclass of settings derives from: when it is read from a table, a key that it does not
    have is an error, and so is a value of another type. However it is made, a number must be in the range
    that the type of its field states (`ranges.Range`).

    Attributes:
        where: What the settings are of, for messages on ranges; empty for the name of the class.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    where: ClassVar[str] = ""

    def __post_init__(self) -> None:
        ranges.check(self, self.where or type(self).__name__)


S = TypeVar("S", bound=Settings)


def read(kind: type[S], table: Mapping[str, Any], where: str, *, named: bool = True) -> S:
    """Settings from a table, as TOML or JSON has them.

    Args:
        kind: The dataclass.
        table: Values by key; those left out keep their defaults.
        where: What the table is called, for messages; empty if its keys stand for themselves.
        named: Whether names of settings begin with that: not those of a whole file.

    Returns:
        The settings.

    Raises:
        ConfigError: For the first key that is unknown or missing, or whose value is of another type or out
            of its range; with its place and, if it was misspelt, the nearest name.

    Examples:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Stream(Settings):
        ...     tasks: int = 5
        >>> read(Stream, {"tasks": 20}, "data")
        Stream(tasks=20)
        >>> read(Stream, {"task": 20}, "data")
        Traceback (most recent call last):
        ...
        mambacl.errors.ConfigError: data: there is no setting `data.task`; did you mean `data.tasks`?
    """
    try:
        return _adapter(kind).validate_json(_json(table, where), strict=True)
    except ValidationError as error:
        raise ConfigError(_told(kind, table, where, error, named)) from None
    except (PydanticUserError, NameError) as error:  # of settings that somebody else wrote
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"{where or 'settings'}: {kind.__name__} must have fields of types that tables have, got {reason}"
        ) from error


def table(settings: Settings) -> dict[str, Any]:
    """Settings as a table that JSON and `read` take, nothing left out.

    Raises:
        ConfigError: If a value is none that JSON has.
    """
    assert dataclasses.is_dataclass(settings)
    try:
        return json.loads(json.dumps(dataclasses.asdict(settings)))
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{type(settings).__name__}: values must be those of JSON, got {error}") from error


@functools.cache
def _adapter(kind: type[S]) -> TypeAdapter[S]:
    """Cached: making one takes longer than reading many tables."""
    return TypeAdapter(kind)


def _json(table: Mapping[str, Any], where: str) -> str:
    try:
        reading.check_values(table, where)
    except ValueError as error:
        raise ConfigError(f"{where or 'settings'}: {error}") from error
    try:
        return json.dumps(table)
    except (TypeError, ValueError, RecursionError) as error:  # a date, say, which TOML has and JSON lacks
        raise ConfigError(f"{where or 'settings'}: values must be those of JSON, got {error}") from error


def _told(kind: type, table: Mapping[str, Any], where: str, error: ValidationError, named: bool) -> str:
    """The first error in the words of this package."""
    prefix = [where] if where and named else []
    placed = [(_keys(table, each), each) for each in error.errors(include_url=False)]
    # Each member of a union has an error of its own; the one that got furthest into the value says most.
    place = placed[0][0]
    near = [(keys, each) for keys, each in placed if keys[: len(place)] == place]
    keys, first = max(near, key=lambda pair: len(pair[0]))  # the first of equals
    name = _joined(prefix, keys)
    got, context = first["input"], first.get("ctx", {})
    part = where or name.partition(".")[0]
    match first["type"]:
        case "unexpected_keyword_argument":
            return f"{part}: there is no setting `{name}`{_hint(kind, table, keys, prefix)}"
        case "missing":
            return f"{part}: the setting `{name}` is missing"
        case "union_tag_invalid":
            kinds = context["expected_tags"]
            return f"{part}: `{name}.kind` must be one of {kinds}, got {got['kind']!r}"
        case "union_tag_not_found":
            return f"{part}: the setting `{name}.kind` is missing"
        case "value_error":  # of a dataclass's own check, which names its field
            own = context["error"]
            return str(own) if isinstance(own, ConfigError) else f"{part}: {own}"
        case "json_invalid":  # half a surrogate pair, say, which Python's texts may hold
            return f"{part or 'settings'}: values must be those of JSON, got {first['msg']}"
        case _:
            reasons = dict.fromkeys(_reason(each) for other, each in near if other == keys)
            return f"{part}: `{name}` must be {', or '.join(reasons)}, got {reading.shown(got)}"


def _reason(error: ErrorDetails) -> str:
    """What a value must be."""
    match error["type"]:
        case "dataclass_type" | "dict_type":
            return "a table"
        case "tuple_type" | "list_type":
            return "a list"
        case "too_long":
            return f"a list of at most {error.get('ctx', {})['max_length']}"
        case _:
            return error["msg"].removeprefix("Input should be ")


def _hint(kind: type, table: Any, keys: list[Any], prefix: list[str]) -> str:
    """What was probably meant by keys that lead to no setting, or else all that there are beside it."""
    *above, last = keys
    for key in above:
        table = table[key]
    homes = _homes(kind, above)
    if others := [home.kind for home in homes if hasattr(home, "kind") and last in _fields(home)]:
        tag = _joined(prefix, above, "kind")
        return f" where `{tag}` is {table.get('kind')!r}, only where it is {' or '.join(map(repr, others))}"
    own = [home for home in homes if getattr(home, "kind", None) == table.get("kind")] or homes
    here = sorted({_joined(prefix, above, field) for home in own for field in _fields(home)})
    everywhere = [_joined(prefix, name) for name in _names(kind)]
    same = [name for name in everywhere if name.rpartition(".")[2] == last]
    for valid, least in ((same, 1.0), (here, 0.6), (everywhere, 0.75)):  # far away it must be more alike
        if near := _nearest(_joined(prefix, keys), valid, least):
            return f"; did you mean `{near}`?"
    return f", only {', '.join(here or sorted(set(everywhere)))}"


def _nearest(name: str, valid: list[str], least: float) -> str | None:
    """The setting whose last part is most like the one given, if it is as like it as it must be at least."""

    def likeness(known: str) -> tuple[float, float]:
        pairs = ((name.rpartition(".")[2], known.rpartition(".")[2]), (name, known))
        last, whole = (difflib.SequenceMatcher(None, one, other).ratio() for one, other in pairs)
        return last, whole

    near = max(valid, key=likeness, default=None)
    return near if near is not None and likeness(near)[0] >= least else None


def _keys(table: Any, error: ErrorDetails) -> list[Any]:
    """The way to what an error is about; on it pydantic puts the names of a union's members."""
    keys: list[Any] = []
    for key in error["loc"]:
        try:
            table = table[key]
        except (KeyError, IndexError, TypeError):
            # What is missing is not there; nor is a key by the text that JSON makes of a number.
            if error["type"] not in ("missing", "unexpected_keyword_argument") or key != error["loc"][-1]:
                continue
        keys.append(key)
    return keys


def _joined(*parts: str | list[Any]) -> str:
    """The full name of a setting."""
    return ".".join(str(key) for part in parts for key in ([part] if isinstance(part, str) else part))


def _homes(kind: type, above: list[Any]) -> list[Any]:
    """The dataclasses that may stand where keys lead."""
    homes = [kind]
    for key in above:
        homes = [part for home in homes for part in _parts(typing.get_type_hints(home).get(key))]
    return list(dict.fromkeys(homes))


def _fields(kind: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _names(kind: Any) -> Iterator[str]:
    """All settings of a dataclass, those of its parts behind a dot."""
    hints = typing.get_type_hints(kind, include_extras=False)
    for field in _fields(kind):
        yield field
        for part in _parts(hints[field]):
            yield from (f"{field}.{name}" for name in _names(part))


def _parts(hint: Any) -> Iterator[type]:
    """The dataclasses of a type that may be a union, and those that derive from them."""
    if typing.get_origin(hint) in (Union, types.UnionType, Annotated):
        for member in typing.get_args(hint):
            yield from _parts(member)
    elif isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield hint
        for derived in hint.__subclasses__():
            yield from _parts(derived)
