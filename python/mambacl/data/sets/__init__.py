"""Data sets as they are found: pictures and texts sorted by class, with the splits of the literature."""

from mambacl.data.sets.data_set import DataSet
from mambacl.data.sets.labelled import Labelled
from mambacl.data.sets.registry import data_set, data_sets

__all__ = ["DataSet", "Labelled", "data_set", "data_sets"]
