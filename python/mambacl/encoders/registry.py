"""Frozen encoders by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mambacl import nearest
from mambacl.encoders import clip, efficientnet_lite0, glyphs, torchvision, wordllama
from mambacl.encoders.frozen_encoder import FrozenEncoder, Kind
from mambacl.errors import ConfigError


@dataclass(frozen=True)
class KnownEncoder:
    """What is known of an encoder, or of a family of them, before its weights are looked at.

    Attributes:
        name: As in settings and commands; of a family with a colon, behind which a model is named.
        kind: What it reads.
        summary: A line: what it is, numbers in a vector, where the weights come from.
        licence: Of the weights.
        extra: Of mambacl that brings the packages it needs; empty for none.
        load: The encoder of a model; one that is no family takes "".
        example: A name that works; empty if it is no family.
    """

    name: str
    kind: Kind
    summary: str
    licence: str
    extra: str
    load: Callable[[str], FrozenEncoder[Any]]
    example: str = ""

    @property
    def is_family(self) -> bool:
        """Whether a model is to be named behind a colon."""
        return self.name.endswith(":")


_ENCODERS = (
    KnownEncoder(
        efficientnet_lite0.NAME,
        "images",
        "EfficientNet-Lite0, trained on ImageNet, at 128 x 128; 1,280 numbers; weights in a package",
        "Apache-2.0",
        "encoders",
        lambda _: efficientnet_lite0.load(),
    ),
    KnownEncoder(
        wordllama.NAME,
        "texts",
        "WordLlama, means of token vectors; 256 numbers; weights in a package",
        "MIT",
        "encoders",
        lambda _: wordllama.load(),
    ),
    KnownEncoder(
        glyphs.NAME,
        "images",
        "a small network for characters, at 32 x 32 grey; 128 numbers; weights in mambacl",
        "Apache-2.0",
        "",
        lambda _: glyphs.load(),
    ),
    KnownEncoder(
        f"{clip.PICTURES}:",
        "images",
        "CLIP's pictures, by transformers; 512 numbers and more; from the Hugging Face hub or a folder",
        "the model's, MIT for OpenAI's",
        "clip",
        clip.load_pictures,
        "clip:openai/clip-vit-base-patch32",
    ),
    KnownEncoder(
        f"{clip.TEXTS}:",
        "texts",
        "CLIP's texts, as above",
        "the model's, MIT for OpenAI's",
        "clip",
        clip.load_texts,
        "clip-text:openai/clip-vit-base-patch32",
    ),
    KnownEncoder(
        f"{torchvision.NAME}:",
        "images",
        "torchvision's classifiers without their last layer; 512 numbers and more; downloaded",
        "torchvision's, BSD-3-Clause for most; trained on ImageNet",
        "vision",
        torchvision.load,
        "torchvision:resnet18",
    ),
)


def frozen_encoders() -> tuple[KnownEncoder, ...]:
    """All that are known, in the order of a list to read."""
    return _ENCODERS


def known_encoder(name: str) -> KnownEncoder:
    """What is known of an encoder; no package is imported, no weights are read.

    Args:
        name: As `frozen_encoder` takes it.

    Raises:
        ConfigError: If there is none, with the nearest name; or if a family's model is missing.

    Examples:
        >>> known_encoder("clip:openai/clip-vit-base-patch32").kind
        'images'
    """
    family, colon, model = name.partition(":")
    for known in _ENCODERS:
        if known.name != family + colon:
            continue
        if known.is_family and not model:
            raise ConfigError(f"encoder: {name!r} must name a model, as {known.example!r} does")
        return known
    names = [known.name for known in _ENCODERS]
    raise ConfigError(f"encoder: there is none named {name!r}; {nearest.hint(family + colon, names)}")


def frozen_encoder(name: str) -> FrozenEncoder[Any]:
    """The encoder of a name, with its weights.

    Args:
        name: "wordllama"; or of a family "clip:MODEL", see `frozen_encoders`.

    Returns:
        The encoder, ready.

    Raises:
        ConfigError: If there is none, or a package it needs is not installed.
        DataError: If its weights are damaged, or cannot be had.

    Examples:
        >>> frozen_encoder("glyphs").dim
        128
    """
    return known_encoder(name).load(name.partition(":")[2])
