"""Estimators that learn from one stream, with the interfaces of scikit-learn and River."""

from mambacl.streams.classifier import ContinualClassifier
from mambacl.streams.estimator import Snapshot
from mambacl.streams.not_fitted import NotFittedError
from mambacl.streams.regressor import ContinualRegressor

__all__ = [
    "ContinualClassifier",
    "ContinualRegressor",
    "NotFittedError",
    "Snapshot",
]
