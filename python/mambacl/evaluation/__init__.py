"""Evaluation on unseen classes: scores, calibration, the accuracy matrix, and what may be said of them."""

from mambacl.evaluation.calibration import Calibration
from mambacl.evaluation.evaluate import Evaluation, evaluate, evaluate_predictor
from mambacl.evaluation.matrix import AccuracyMatrix, accuracy_matrix
from mambacl.evaluation.scores import Scores
from mambacl.evaluation.statistics import Interval, over_seeds, paired_difference, paired_over_seeds

__all__ = [
    "AccuracyMatrix",
    "Calibration",
    "Evaluation",
    "Interval",
    "Scores",
    "accuracy_matrix",
    "evaluate",
    "evaluate_predictor",
    "over_seeds",
    "paired_difference",
    "paired_over_seeds",
]
