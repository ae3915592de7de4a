"""What an encoder with frozen weights is, wherever they come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypeVar

from torch import Tensor

Kind = Literal["images", "texts"]
"""What an encoder reads: pictures, `PIL.Image.Image` of any mode that `mambacl.pictures.plain` takes, or
texts, `str`."""

Read = TypeVar("Read", contravariant=True)


class FrozenEncoder(Protocol[Read]):
    """Pictures or texts to vectors, the same today and tomorrow.

    The vector of an example is a function of that example alone (up to rounding), so features can be
    computed once, in any batches, and kept under the encoder's key.
    """

    @property
    def key(self) -> str:
        """Names the encoder, the version of its weights and how it prepares its inputs: another key for
        other features."""
        ...

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        ...

    @property
    def kind(self) -> Kind:
        """What it reads."""
        ...

    def encode(self, batch: Sequence[Read]) -> Tensor:
        """The vectors of some examples.

        Args:
            batch: Pictures or texts, n of them, at least one.

        Returns:
            (n, dim) float32, without gradients.
        """
        ...
