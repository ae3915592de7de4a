"""Benchmarks: ratios within one run, to peers and to limits. Times alone say little of another machine."""
