"""Settings: frozen dataclasses that are read from tables, strictly."""

from __future__ import annotations

import dataclasses
import difflib
import json
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, TypeVar, Union

from pydantic import ConfigDict, TypeAdapter, ValidationError

from mambacl.errors import ConfigError


class Settings:
    """What every dataclass of settings derives from: when it is read from a table, a key that it does not
    have is an error, and so is a value of another type."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)


S = TypeVar("S", bound=Settings)


def read(kind: type[S], table: Mapping[str, Any], where: str) -> S:
    """Settings from a table, as TOML or JSON has them.

    Args:
        kind: The dataclass.
        table: Values by key; those left out keep their defaults.
        where: What the table is called, for messages; "" if its own keys say enough.

    Returns:
        The settings.

    Raises:
        ConfigError: For the first key that is unknown or missing, or whose value is of another type or out
            of its range; with its place and, if it was misspelt, the nearest name.

    Example:
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
        return TypeAdapter(kind).validate_json(_json(table, where), strict=True)
    except ValidationError as error:
        raise ConfigError(_told(kind, table, where, error)) from None


def table(settings: Settings) -> dict[str, Any]:
    """Settings as a table that JSON and `read` take, nothing left out."""
    assert dataclasses.is_dataclass(settings)
    return json.loads(json.dumps(dataclasses.asdict(settings)))


def _json(table: Mapping[str, Any], where: str) -> str:
    try:
        return json.dumps(table)
    except (TypeError, ValueError) as error:  # a date, say, which TOML has and JSON lacks
        raise ConfigError(f"{where}: settings must be numbers, texts or lists, got {error}") from error


def _told(kind: type, table: Mapping[str, Any], where: str, error: ValidationError) -> str:
    """The first error in the words of this package."""
    first = error.errors(include_url=False)[0]
    keys = list(_keys(table, first["loc"]))
    prefix = f"{where}." if where else ""
    name, got = prefix + ".".join(keys), first["input"]
    at = where or keys[0]
    match first["type"]:
        case "unexpected_keyword_argument":
            return (
                f"{at}: there is no setting `{name}`{_hint(name, [prefix + known for known in _names(kind)])}"
            )
        case "missing":
            return f"{at}: the setting `{name}` is missing"
        case "union_tag_invalid":
            return f"{at}: `{name}.kind` must be one of {first['ctx']['expected_tags']}, got {got['kind']!r}"
        case "union_tag_not_found":
            return f"{at}: the setting `{name}.kind` is missing"
        case "value_error":  # of a dataclass's own check, which names its field
            return f"{at}: {first['ctx']['error']}"
        case _:
            reason = first["msg"].removeprefix("Input should be ")
            return f"{at}: `{name}` must be {reason}, got {got!r}"


def _hint(name: str, valid: list[str]) -> str:
    """The setting whose last part is most like the one given, or else all that there are."""
    by_last = {known.rpartition(".")[2]: known for known in valid}
    near = difflib.get_close_matches(name.rpartition(".")[2], by_last, n=1)
    return f"; did you mean `{by_last[near[0]]}`?" if near else f", only {', '.join(sorted(set(valid)))}"


def _keys(table: Any, place: Sequence[int | str]) -> Iterator[str]:
    """The keys on the way to a place; pydantic puts the name of a union's member between them."""
    for number, key in enumerate(place):
        inside = isinstance(table, dict) and key in table
        if inside or number == len(place) - 1:
            yield str(key)
            table = table[key] if inside else None


def _names(kind: Any) -> Iterator[str]:
    """All settings of a dataclass, those of its parts behind a dot."""
    hints = typing.get_type_hints(kind, include_extras=False)
    for field in dataclasses.fields(kind):
        yield field.name
        for part in _parts(hints[field.name]):
            yield from (f"{field.name}.{name}" for name in _names(part))


def _parts(hint: Any) -> Iterator[type]:
    """The dataclasses of a type that may be a union."""
    if typing.get_origin(hint) in (Union, types.UnionType, Annotated):
        for member in typing.get_args(hint):
            yield from _parts(member)
    elif isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield hint
