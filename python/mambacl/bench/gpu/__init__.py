"""What the kernels and learners of a GPU are measured by; `make gpu-check` runs all of it.

Everything also runs on the CPU, in small, so that the measuring itself is tested where there is no GPU.
"""

from mambacl.bench.gpu.measure import measure
from mambacl.bench.gpu.reading import Reading, tables
from mambacl.bench.gpu.sizes import TINY, Sizes

__all__ = ["TINY", "Reading", "Sizes", "measure", "tables"]
