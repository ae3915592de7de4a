"""Reports: what a run was measured to do, and runs beside one another."""

from mambacl.report.comparison import Comparison, compare
from mambacl.report.measurement import ClassMeasurement, Measurement, VectorMeasurement
from mambacl.report.measuring import measure

__all__ = [
    "ClassMeasurement",
    "Comparison",
    "Measurement",
    "VectorMeasurement",
    "compare",
    "measure",
]
