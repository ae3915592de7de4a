"""Encoders: from an input to `d_model` numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Discriminator

from mambacl.settings import Settings


@dataclass(frozen=True)
class CnnEncoder(Settings):
    """A small convolutional network for square images, trained with the learner.

    3x3 convolutions with batch normalisation and ReLU, then a linear map with batch
    normalisation. Statistics come from the stream alone; queries never affect them.

    Attributes:
        in_channels: Channels of the images: 1 for grey, 3 for colour.
        image_size: Height and width in pixels.
        channels: Channels after each convolution.
        strides: Stride of each convolution; empty for 2, which halves height and width.
    """

    in_channels: int = 1
    image_size: int = 32
    channels: tuple[int, ...] = (32, 64, 128)
    strides: tuple[int, ...] = ()
    kind: Literal["cnn"] = field(default="cnn", kw_only=True, repr=False)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input, (channels, height, width)."""
        return (self.in_channels, self.image_size, self.image_size)


@dataclass(frozen=True)
class VectorEncoder(Settings):
    """Linear maps with batch normalisation for vectors, such as features of a frozen encoder.

    Attributes:
        dim: Numbers in an input.
        hidden: Widths of hidden layers, each followed by ReLU.
    """

    dim: int
    hidden: tuple[int, ...] = ()
    kind: Literal["vector"] = field(default="vector", kw_only=True, repr=False)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input, (dim,)."""
        return (self.dim,)


Encoder = Annotated[CnnEncoder | VectorEncoder, Discriminator("kind")]
