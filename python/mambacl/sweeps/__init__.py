"""Sweeps: families of runs that become one table, each cell a run that can be resumed."""

from mambacl.sweeps.outcome import Outcome, Results
from mambacl.sweeps.reading import read_sweep
from mambacl.sweeps.sweep import Cell, Row, Sweep

__all__ = ["Cell", "Outcome", "Results", "Row", "Sweep", "read_sweep"]
