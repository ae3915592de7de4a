"""Evaluation on unseen classes: scores, calibration, the accuracy matrix, and what may be said of them."""

from mambacl.evaluation.associations import associations, own_class
from mambacl.evaluation.calibration import Calibration
from mambacl.evaluation.error_matrix import ErrorMatrix, error_matrix
from mambacl.evaluation.evaluate import Evaluation, evaluate, evaluate_predictor
from mambacl.evaluation.matrix import AccuracyMatrix, accuracy_matrix
from mambacl.evaluation.metric import ACCURACY, COSINE_ERROR, SQUARED_ERROR, Metric, metric_of
from mambacl.evaluation.scores import Scores
from mambacl.evaluation.statistics import Interval, over_seeds, paired_difference, paired_over_seeds

__all__ = [
    "ACCURACY",
    "COSINE_ERROR",
    "SQUARED_ERROR",
    "AccuracyMatrix",
    "Calibration",
    "ErrorMatrix",
    "Evaluation",
    "Interval",
    "Metric",
    "Scores",
    "accuracy_matrix",
    "associations",
    "error_matrix",
    "evaluate",
    "evaluate_predictor",
    "metric_of",
    "over_seeds",
    "own_class",
    "paired_difference",
    "paired_over_seeds",
]
