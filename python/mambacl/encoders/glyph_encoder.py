"""A small convolutional network that turns the image of a character into a vector; its weights never change.

It was trained to classify 1,200 characters (`mambacl.encoder_training`); its features tell others apart too.
"""

from __future__ import annotations

from typing import Literal, get_args

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mambacl import packaged
from mambacl.errors import DtypeError, InvalidValueError, ShapeError

GlyphFaces = Literal["all", "print"]
"""Which typefaces an encoder was trained on: all 21, or the 8 of the styles "ming" and "gothic"."""

_FOLDER = packaged.folder("mambacl.encoders")


class GlyphEncoder(nn.Module):
    """Five convolutions from 32 x 32 pixels to 4 x 4, their mean, and a linear map to a vector on a sphere.

    A vector is normalised to length sqrt(DIM), so that its numbers are about 1 in size, whatever the image.

    Examples:
        >>> encoder = load_glyph_encoder()
        >>> features = encoder(torch.rand(2, 1, 32, 32) * 2 - 1)
        >>> features.shape, [round(length, 2) for length in features.norm(dim=1).tolist()]
        (torch.Size([2, 128]), [11.31, 11.31])
    """

    SIDE = 32
    """Pixels on a side of an image."""

    DIM = 128
    """Numbers in a feature vector."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _convolution(1, 32, stride=2, kernel=5),  # 16 x 16
            _convolution(32, 64),
            _convolution(64, 96, stride=2),  # 8 x 8
            _convolution(96, 96),
            _convolution(96, 128, stride=2),  # 4 x 4
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(128, self.DIM, bias=False),
            nn.BatchNorm1d(self.DIM, affine=False),
        )
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] a third faster on a CPU

    def forward(self, images: Tensor) -> Tensor:
        """Encodes images.

        Args:
            images: From -1 (background) to 1 (ink), (n, 1, 32, 32) float32.

        Returns:
            (n, 128) float32, each of length sqrt(128).

        Raises:
            ShapeError: If `images` has another shape.
            DtypeError: If `images` is not float32.
        """
        if images.ndim != 4 or images.shape[1:] != (1, self.SIDE, self.SIDE):
            raise ShapeError(
                f"GlyphEncoder: argument `images` must have shape (n, 1, {self.SIDE}, {self.SIDE}), "
                f"got {tuple(images.shape)}"
            )
        if images.dtype != torch.float32:
            raise DtypeError(f"GlyphEncoder: argument `images` must be float32, got {images.dtype}")
        features = self.layers(images.contiguous(memory_format=torch.channels_last))
        return F.normalize(features) * self.DIM**0.5


def _convolution(inputs: int, outputs: int, *, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def load_glyph_encoder(faces: GlyphFaces = "all") -> GlyphEncoder:
    """Loads an encoder from the package, in eval mode and without gradients.

    Args:
        faces: "all", or "print" for the encoder that has seen print faces only.

    Returns:
        The encoder; its weights were rounded to float16 and are float32 again.

    Raises:
        InvalidValueError: If `faces` is neither.
        DataError: If a packaged file is missing or damaged.
    """
    file = _FOLDER / f"glyph_encoder_{faces}.safetensors"
    contents = packaged.contents("glyph encoder", file, weights_sha256(faces))
    return with_weights(safetensors.torch.load(contents))


def with_weights(weights: dict[str, Tensor]) -> GlyphEncoder:
    """An encoder of given weights, in eval mode and without gradients.

    Args:
        weights: As `packed_weights` gives them.

    Returns:
        The encoder, in float32.
    """
    # First weights that are lost must not move the caller's generator.
    with torch.random.fork_rng(devices=[]):
        encoder = GlyphEncoder()
    encoder.load_state_dict({name: weight.float() for name, weight in weights.items()})
    return encoder.eval().requires_grad_(False)


def packed_weights(encoder: GlyphEncoder) -> dict[str, Tensor]:
    """The weights and statistics of an encoder as they lie in a file, float16."""
    state: dict[str, Tensor] = encoder.state_dict()
    return {name: tensor.half().contiguous() for name, tensor in state.items() if tensor.is_floating_point()}


def weights_sha256(faces: GlyphFaces) -> str:
    """The digest of a packaged file of weights, in hexadecimal.

    Args:
        faces: "all" or "print".

    Returns:
        What the file must have, not what it has.

    Raises:
        InvalidValueError: If `faces` is neither.
        DataError: If the packaged description is missing or damaged.
    """
    if faces not in get_args(GlyphFaces):
        raise InvalidValueError(
            f"glyph encoder: `faces` must be one of {get_args(GlyphFaces)}, got {faces!r}"
        )
    file = _FOLDER / f"glyph_encoder_{faces}.json"
    return packaged.description("glyph encoder", file, "sha256")["sha256"]
