"""`mambacl list`."""

from __future__ import annotations

from dataclasses import dataclass

from mambacl import experiments


@dataclass(frozen=True)
class List:
    """List the experiments of the package: purpose, expected score, time.

    For example:

      mambacl list
    """


def run() -> None:
    """Prints a paragraph for each."""
    for name in experiments.names():
        experiment = experiments.load(name)
        print(
            f"{name}\n  {experiment.purpose}\n  Expected: {experiment.expected}\n  Time: {experiment.time}\n"
        )
