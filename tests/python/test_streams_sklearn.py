"""scikit-learn's own checks of its estimators."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_wine
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from mambacl import (
    ClassTarget,
    ContinualClassifier,
    ContinualRegressor,
    Learner,
    PrototypeConfig,
    SequenceConfig,
    VectorEncoder,
    VectorTarget,
    save_learner,
)

PROTOTYPES = Learner(PrototypeConfig(VectorEncoder(8), d_model=32))
# In float64: answers to queries in batches differ by rounding, and scikit-learn compares to 1e-7.
REGRESSION = Learner(SequenceConfig(VectorEncoder(8), VectorTarget(1), d_model=16)).double()


def expected_failures(estimator: Any) -> dict[str, str]:
    """The checks that cannot pass, with the reason."""
    if not isinstance(estimator.learner, Learner):
        return {}
    return {
        "check_estimators_overwrite_params": "it compares joblib's hashes of the parameters, and that of any "
        "torch module differs from its copy's; with the path of a learner's file it passes"
    }


def saved() -> str:
    path = Path(tempfile.mkdtemp()) / "prototypes.safetensors"
    save_learner(path, PROTOTYPES)
    return str(path)


@parametrize_with_checks(
    [ContinualClassifier(PROTOTYPES), ContinualClassifier(saved()), ContinualRegressor(REGRESSION)],
    expected_failed_checks=expected_failures,
)
@pytest.mark.filterwarnings("default")  # checks warn on purpose
def test_estimators_pass(estimator: Any, check: Callable[[Any], None]):
    check(estimator)


def test_it_works_in_pipelines_and_cross_validation():
    x, y = load_wine(return_X_y=True)
    learner = Learner(PrototypeConfig(VectorEncoder(13)))
    model = make_pipeline(StandardScaler(), ContinualClassifier(learner))
    assert cross_val_score(model, x, y, cv=3).mean() > 0.9


def test_importing_mambacl_does_not_import_sklearn():
    code = "import sys, mambacl; assert 'sklearn' not in sys.modules; mambacl.ContinualClassifier"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_vocabulary_of_one():
    learner = Learner(PrototypeConfig(VectorEncoder(2), ClassTarget(2)))
    assert ContinualClassifier(learner).fit([[0.0, 1.0]], ["a"]).predict_proba([[5.0, 5.0]]).tolist() == [
        [1.0]
    ]
