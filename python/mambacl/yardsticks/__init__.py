"""Predictors without meta-training: how hard is a benchmark before any?

They take the learner's own inputs, flattened where they are images, and learn from each stream alone.
"""

from mambacl.yardsticks.constant import mean_target, zero
from mambacl.yardsticks.nearest import class_mean, nearest_neighbour
from mambacl.yardsticks.offline import Offline
from mambacl.yardsticks.ridge import ridge_regression

__all__ = ["Offline", "class_mean", "mean_target", "nearest_neighbour", "ridge_regression", "zero"]
