"""What the package promises: its names, and that each is documented."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest

import mambacl
from mambacl.config import generated

NAMES = """
AccuracyMatrix Calibration ContinualClassifier ContinualRegressor Episode EpisodeDataset EpisodeOutput
EpisodeSource EpisodeSpec Evaluation History Interval Keys LayerState Learner LearnerState MambaState Scores
Trace TrainConfig __version__ accuracy_matrix errors evaluate evaluate_predictor load_learner load_run
load_state meta_train nn ops over_seeds paired_difference paired_over_seeds register save_learner
save_state
"""

OPS = ["causal_conv1d", "reference", "selective_scan"]

MODULES = [
    info.name
    for info in pkgutil.walk_packages(mambacl.__path__, prefix="mambacl.")
    if info.name != "mambacl._core"
]


def test_names_are_pinned():
    assert sorted(set(mambacl.__all__) - set(generated.__all__)) == NAMES.split()
    assert all(hasattr(mambacl, name) for name in NAMES.split())
    assert sorted(mambacl.ops.__all__) == OPS
    assert sorted(mambacl.nn.__all__) == ["Mamba", "MambaState"]


def test_the_modules_are_found():
    assert {"mambacl.learner", "mambacl.ops.selective_scan", "mambacl.data.hanzi21"} <= set(MODULES)


def public(module: ModuleType) -> list[tuple[str, object]]:
    """Functions and classes that a module defines, with the public members of the classes."""
    found: list[tuple[str, object]] = [(module.__name__, module)]
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(value) or inspect.isclass(value):
            found.append((f"{module.__name__}.{name}", value))
        if inspect.isclass(value):
            found += [
                (f"{module.__name__}.{name}.{member}", attribute)
                for member, attribute in vars(value).items()
                if not member.startswith("_")
                and (
                    inspect.isfunction(attribute)
                    or isinstance(attribute, (property, classmethod, staticmethod))
                )
            ]
    return found


@pytest.mark.parametrize("name", ["mambacl", *MODULES])
def test_everything_public_is_documented(name: str):
    for qualified, value in public(importlib.import_module(name)):
        text = inspect.getdoc(value)
        # A dataclass without a docstring gets its signature for one.
        assert text, f"{qualified} has no docstring"
        assert not text.startswith(f"{qualified.rsplit('.', 1)[-1]}("), f"{qualified} has no docstring"


@pytest.mark.parametrize("name", sorted(set(NAMES.split()) - {"__version__"}))
def test_what_is_exported_is_documented(name: str):
    assert inspect.getdoc(getattr(mambacl, name))


def test_the_engine_has_what_the_stub_says():
    engine = mambacl._core
    assert isinstance(engine.__version__, str)
    assert mambacl.__version__ == engine.__version__
    assert inspect.getdoc(engine.Learner)
