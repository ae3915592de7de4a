"""Figures. Each function draws on axes that it is given or makes, and returns them."""

from mambacl.plots.bars import accuracy_bars, error_bars
from mambacl.plots.calibration import reliability
from mambacl.plots.curves import anytime_accuracy, learning_curves, times, validation_curves
from mambacl.plots.decay import kept
from mambacl.plots.lines import LINES
from mambacl.plots.matrices import accuracy_matrix, error_matrix
from mambacl.plots.pictures import association_map, episode_images
from mambacl.plots.saving import check_file, save

__all__ = [
    "LINES",
    "accuracy_bars",
    "accuracy_matrix",
    "anytime_accuracy",
    "association_map",
    "check_file",
    "episode_images",
    "error_bars",
    "error_matrix",
    "kept",
    "learning_curves",
    "reliability",
    "save",
    "times",
    "validation_curves",
]
