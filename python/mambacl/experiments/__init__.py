"""Experiments: TOML files with the settings of model, training and data, and what to expect of them."""

from mambacl.experiments.experiment import EVALUATION_SEED, Experiment
from mambacl.experiments.files import load, names

__all__ = ["EVALUATION_SEED", "Experiment", "load", "names"]
