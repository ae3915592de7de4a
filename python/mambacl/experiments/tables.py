"""Tables of settings laid over one another."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from mambacl.config import LEARNERS, ClassTarget, CnnEncoder, LearnerConfig, MambaMixer, SequenceConfig
from mambacl.experiments.data import Hanzi21Images

_DEFAULT_KINDS = {"model": SequenceConfig.kind, "data": Hanzi21Images.kind}
"""What a table is of where it names no kind."""

_LEFT_OUT: dict[str, dict[str, Any]] = {
    "model": {},
    "model.encoder": {"kind": CnnEncoder.kind},
    "model.target": {"kind": ClassTarget.kind},
    "model.mixer": {"kind": MambaMixer.kind},
}
"""What stands for a part that a table leaves out."""

_SHARED = {"model": {field.name for field in dataclasses.fields(LearnerConfig)} - {"kind"}}
"""Settings that every kind of a table has."""


def merge(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The table of an experiment with changes laid over it, table by table.

    Where the `kind` of a part changes, its other settings are dropped, for they are another kind's; of the
    model those that every learner has stay: encoder, target and `d_model`. A part that the table leaves out
    is changed as it is by default.

    Args:
        table: Of an experiment.
        changes: Some of such a table.

    Returns:
        A new table; the parts of the old are as they were.

    Examples:
        >>> table = {"model": {"d_model": 64, "mixer": {"kind": "mamba", "d_state": 8}}}
        >>> merge(table, {"model": {"mixer": {"kind": "attention"}}})
        {'model': {'d_model': 64, 'mixer': {'kind': 'attention'}}}
        >>> merge(table, {"model": {"kind": "prototype"}})
        {'model': {'d_model': 64, 'kind': 'prototype'}}
        >>> merge({}, {"model": {"target": {"vocab": 128}}})
        {'model': {'target': {'kind': 'class', 'vocab': 128}}}
    """
    return _merged(table, changes, "")


def _merged(old: Mapping[str, Any], new: Mapping[str, Any], name: str) -> dict[str, Any]:
    if "kind" in new and new["kind"] != old.get("kind", _DEFAULT_KINDS.get(name)):
        shared = _SHARED.get(name, set())
        old = {key: value for key, value in old.items() if key in shared}
    merged = dict(old)
    for key, value in new.items():
        part = f"{name}.{key}".lstrip(".")
        left_out = _LEFT_OUT.get(part)
        if part == "model.mixer" and merged.get("kind", SequenceConfig.kind) not in LEARNERS:
            left_out = None  # a part of a learner written in Python
        before = merged.get(key, left_out)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            value = _merged(before, value, part)
        merged[key] = value
    return merged


def nested(place: str, value: Any) -> dict[str, Any]:
    """A table of one setting by its full name.

    Examples:
        >>> nested("train.lr", 1e-3)
        {'train': {'lr': 0.001}}
    """
    for part in reversed(place.split(".")):
        value = {part: value}
    return value
