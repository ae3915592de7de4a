"""Reports: what a run was measured to do, and runs beside one another."""

from mambacl.report.comparison import Comparison, compare
from mambacl.report.measurement import Measurement, measure

__all__ = ["Comparison", "Measurement", "compare", "measure"]
