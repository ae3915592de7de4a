"""The package's encoder of characters as a frozen encoder of any picture, made grey and small."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mambacl.encoders.glyph_encoder import GlyphEncoder, load_glyph_encoder, weights_sha256
from mambacl.pictures import plain

NAME = "glyphs"


class Glyphs:
    """Pictures to 128 numbers, by an encoder that was trained to tell characters apart.

    A picture becomes grey and 32 x 32; dark strokes on a light ground are what the encoder knows. Half of
    hanzi21's meta-training characters trained it, see `mambacl.data.encoder_division`: on that set use
    `mambacl.data.hanzi21_features`, which leaves them out.

    Args:
        network: In eval mode.
        sha256: Of its weights.
    """

    dim = GlyphEncoder.DIM
    kind: Literal["images"] = "images"

    def __init__(self, network: GlyphEncoder, sha256: str) -> None:
        self.key = f"{NAME}-{sha256[:16]}"
        self._network = network

    def encode(self, batch: Sequence[Image.Image]) -> Tensor:
        """The vectors of pictures, (n, 128) float32."""
        side = (GlyphEncoder.SIDE, GlyphEncoder.SIDE)
        small = [
            np.asarray(plain(picture).convert("L").resize(side, Image.Resampling.BILINEAR))
            for picture in batch
        ]
        ink = 1 - torch.from_numpy(np.stack(small)).float() / 127.5
        with torch.no_grad():
            return self._network(ink.unsqueeze(1))


def load() -> Glyphs:
    """The encoder.

    Raises:
        DataError: If a packaged file is missing or damaged.
    """
    return Glyphs(load_glyph_encoder("all"), weights_sha256("all"))
