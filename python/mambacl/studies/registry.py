"""Studies by name."""

from __future__ import annotations

from typing import Any

from mambacl import nearest
from mambacl.studies.compound import Compound
from mambacl.studies.domains import Domains
from mambacl.studies.efficiency import Efficiency
from mambacl.studies.forgetting import Forgetting
from mambacl.studies.length import Shots, Tasks
from mambacl.studies.modality import Modality
from mambacl.studies.noise import Noise
from mambacl.studies.order import Orders
from mambacl.studies.regression import Regression
from mambacl.studies.regulariser import Regulariser
from mambacl.studies.selectivity import SelectivityMaps
from mambacl.studies.study import Study

_STUDIES: tuple[type[Study[Any]], ...] = (
    Regulariser,
    Tasks,
    Shots,
    Noise,
    Domains,
    Forgetting,
    Regression,
    Efficiency,
    SelectivityMaps,
    Modality,
    Orders,
    Compound,
)


def names() -> list[str]:
    """The studies, in the order of a list to read."""
    return [study.name for study in _STUDIES]


def study(name: str) -> Study[Any]:
    """The study of a name.

    Raises:
        ConfigError: If there is none; with the nearest name.

    Examples:
        >>> study("tasks").sweeps
        ('sequence-learners',)
    """
    return nearest.found("study", name, {known.name: known for known in _STUDIES})()
