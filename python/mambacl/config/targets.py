"""Targets: what an example is labelled with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Discriminator

from mambacl.settings import Settings


@dataclass(frozen=True)
class ClassTarget(Settings):
    """Targets are classes, shown to the learner as symbols that a codebook chooses for each stream.

    Attributes:
        vocab: Symbols; a stream may hold as many classes.
    """

    vocab: int = 64
    kind: Literal["class"] = field(default="class", kw_only=True, repr=False)


@dataclass(frozen=True)
class VectorTarget(Settings):
    """Targets are vectors; the loss is the mean squared error.

    Attributes:
        dim: Numbers in a target.
    """

    dim: int
    kind: Literal["vector"] = field(default="vector", kw_only=True, repr=False)


@dataclass(frozen=True)
class AngleTarget(Settings):
    """Targets are directions, an angle given as (cos, sin); the loss is 1 - cos.

    Attributes:
        dim: Numbers in a target.
    """

    dim: int = 2
    kind: Literal["angle"] = field(default="angle", kw_only=True, repr=False)


Target = Annotated[ClassTarget | VectorTarget | AngleTarget, Discriminator("kind")]
