"""Torchvision's classifiers without their last layer: pictures to what they were classified by."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor, nn

from mambacl.encoders import fingerprint
from mambacl.encoders.extras import require
from mambacl.errors import ConfigError, DataError
from mambacl.pictures import plain

NAME = "torchvision"


class Backbone:
    """Pictures to the inputs of a classifier's last linear layer, prepared as its weights want.

    Args:
        name: Of the model and its weights, for the key.
        classifier: Whose last linear layer is taken off.
        transforms: From a picture to an input, (3, height, width) float32.

    Raises:
        ConfigError: If the classifier does not end in a linear layer.
    """

    kind: Literal["images"] = "images"

    def __init__(self, name: str, classifier: nn.Module, transforms: Any) -> None:
        linear = [
            (place, layer) for place, layer in classifier.named_modules() if isinstance(layer, nn.Linear)
        ]
        if not linear or list(classifier.modules())[-1] is not linear[-1][1]:
            raise ConfigError(f"encoder {NAME}:{name}: its last layer must be linear, as the others' is")
        place, head = linear[-1]
        self.dim = head.in_features
        self.key = f"{NAME}-{name}-{fingerprint.of_module(classifier)[:16]}"
        parent, _, child = place.rpartition(".")
        setattr(classifier.get_submodule(parent), child, nn.Identity())
        self._network = classifier.eval().requires_grad_(False)
        self._transforms = transforms

    def encode(self, batch: Sequence[Image.Image]) -> Tensor:
        """The vectors of pictures, (n, dim) float32."""
        with torch.no_grad():
            return self._network(
                torch.stack([self._transforms(plain(picture).convert("RGB")) for picture in batch])
            )


def load(model: str) -> Backbone:
    """The encoder.

    Args:
        model: Such as "resnet18", with torchvision's default weights, or "resnet50/IMAGENET1K_V1".

    Raises:
        ConfigError: If torchvision is not installed, has no such model or weights, or the model does not end
            in a linear layer.
        DataError: If the weights are neither there nor to be had.
    """
    require(NAME, "vision", "torchvision")
    models: Any = import_module("torchvision.models")
    architecture, _, version = model.partition("/")
    try:
        weights = models.get_model_weights(architecture)[version or "DEFAULT"]
    except (KeyError, ValueError) as error:
        near = difflib.get_close_matches(architecture, models.list_models(module=models))
        raise ConfigError(
            f"encoder {NAME}:{model}: torchvision has no such model or weights"
            + (f"; did you mean {' or '.join(near)}?" if near else "")
        ) from error
    try:
        # First weights that are lost must not move the caller's generator.
        with torch.random.fork_rng(devices=[]):
            classifier: nn.Module = models.get_model(architecture, weights=weights)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"encoder {NAME}:{model}: its weights cannot be had ({error}). They are downloaded from "
            f"{weights.url} at first use, which needs a network; or lay the file into the folder "
            f"`checkpoints` of {torch.hub.get_dir()}"
        ) from error
    return Backbone(f"{architecture}-{weights.name}", classifier, weights.transforms())
