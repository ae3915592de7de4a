"""Feed-forward layers: what follows the mixer in a block."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Discriminator

from mambacl.settings import Settings


@dataclass(frozen=True)
class NoFeedForward(Settings):
    """Nothing: a block is its mixer."""

    kind: Literal["none"] = field(default="none", kw_only=True, repr=False)


@dataclass(frozen=True)
class MlpFeedForward(Settings):
    """A hidden layer with GELU, as in Transformers.

    Attributes:
        d_hidden: Width of the hidden layer; None for 2 d_model.
    """

    d_hidden: int | None = None
    kind: Literal["mlp"] = field(default="mlp", kw_only=True, repr=False)


@dataclass(frozen=True)
class ExpertsFeedForward(Settings):
    """A mixture of experts (arXiv:2101.03961): each token goes through the few networks that a router
    chooses.

    Attributes:
        n_expert: Networks to choose from.
        top_k: Networks that a token uses.
        d_hidden: Width of each one's hidden layer; None for 2 d_model.
        balance: Weight in the loss of n_expert sum_e f_e P_e, f being the shares of the choices and P the
            mean probabilities of the experts: 1 when tokens are spread evenly.
    """

    n_expert: int = 4
    top_k: int = 2
    d_hidden: int | None = None
    balance: float = 1e-2
    kind: Literal["experts"] = field(default="experts", kw_only=True, repr=False)


FeedForward = Annotated[NoFeedForward | MlpFeedForward | ExpertsFeedForward, Discriminator("kind")]
