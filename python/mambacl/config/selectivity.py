"""The regulariser of meta-training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mambacl.settings import Settings


@dataclass(frozen=True)
class Selectivity(Settings):
    """The regulariser of meta-training: it guides what a query is associated with (arXiv:2412.00776).

    Attributes:
        association: What stands for the association of a query t with a token j: "content", a softmax
            of C_t . B_j, or of q_t and k_j, in each mixer's own scale (docs/learners.md); "gated", with each
            token weighted by its (mean) step size; "decayed", by what is left of it when the query comes
            (arXiv:2403.01590): Mamba-3 and Gated DeltaNet add its logarithm to that of "content", of Mamba
            and Mamba-2 it is the softmax of the product of C_t with what is left of B_j, flat at the start.
            Attentions have "content" alone.
        target: "mass", -ln of the association with the query's own class (the form of
            arXiv:2310.11952); "uniform", KL(p || q) with p uniform on it.
        keys: "all" tokens of an example, or the "label" token only.
        layers: "last", "all", or indices of layers.
        heads: How many of a layer's heads take part, from the first; None for all. CL-as-Seq guides
            4 of 8.
        weight: Its weight in the loss, lambda.
        end_step: The training step from which on it is off; None for never.
    """

    association: Literal["content", "gated", "decayed"] = "content"
    target: Literal["mass", "uniform"] = "mass"
    keys: Literal["all", "label"] = "all"
    layers: Literal["last", "all"] | tuple[int, ...] = "last"
    heads: int | None = None
    weight: float = 0.5
    end_step: int | None = None
