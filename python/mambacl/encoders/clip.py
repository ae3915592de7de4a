"""CLIP (arXiv:2103.00020) by transformers: pictures or texts to vectors of one space.

Weights come from the Hugging Face hub at first use, or from a folder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor, nn

from mambacl.encoders import fingerprint
from mambacl.encoders.extras import require
from mambacl.errors import DataError
from mambacl.pictures import plain

PICTURES = "clip"
TEXTS = "clip-text"


class ClipPictures:
    """Pictures to the vectors of CLIP's space, as the model prepares them: shorter side and centre.

    Args:
        network: `CLIPModel`.
        processor: `CLIPImageProcessorPil`.
    """

    kind: Literal["images"] = "images"

    def __init__(self, network: nn.Module, processor: Any) -> None:
        self._network: Any = network.eval().requires_grad_(False)
        self._processor = processor
        self.dim: int = self._network.config.projection_dim
        prepared = fingerprint.of_text(processor.to_json_string())[:8]
        size = f"{processor.crop_size['height']}px"
        self.key = f"{PICTURES}-{fingerprint.of_module(network)[:16]}-{size}-{prepared}"

    def encode(self, batch: Sequence[Image.Image]) -> Tensor:
        """The vectors of pictures, (n, dim) float32."""
        inputs = self._processor([plain(picture).convert("RGB") for picture in batch], return_tensors="pt")
        with torch.no_grad():
            return self._network.get_image_features(**inputs).pooler_output  # projected


class ClipTexts:
    """Texts to the vectors of CLIP's space; what is longer than the model reads is cut.

    Args:
        network: `CLIPModel`.
        tokenizer: `CLIPTokenizer`.
    """

    kind: Literal["texts"] = "texts"

    def __init__(self, network: nn.Module, tokenizer: Any) -> None:
        self._network: Any = network.eval().requires_grad_(False)
        self._tokenizer = tokenizer
        self._length: int = self._network.config.text_config.max_position_embeddings
        self.dim: int = self._network.config.projection_dim
        prepared = fingerprint.of_text(tokenizer.backend_tokenizer.to_str())[:8]
        self.key = f"{TEXTS}-{fingerprint.of_module(network)[:16]}-{prepared}"

    def encode(self, batch: Sequence[str]) -> Tensor:
        """The vectors of texts, (n, dim) float32."""
        tokens = self._tokenizer(
            list(batch), padding=True, truncation=True, max_length=self._length, return_tensors="pt"
        )
        with torch.no_grad():
            return self._network.get_text_features(**tokens).pooler_output  # projected


def load_pictures(model: str) -> ClipPictures:
    """The encoder of pictures.

    Args:
        model: On the hub, such as "openai/clip-vit-base-patch32", or a folder.

    Raises:
        ConfigError: If transformers is not installed.
        DataError: If the model is neither there nor to be had, or is not a CLIP.
    """
    network = _network(PICTURES, model)
    # That of torchvision rounds otherwise: features must not depend on whether it is installed.
    processor: Any = import_module("transformers.models.clip.image_processing_pil_clip").CLIPImageProcessorPil
    return ClipPictures(network, _had(PICTURES, model, lambda: processor.from_pretrained(model)))


def load_texts(model: str) -> ClipTexts:
    """The encoder of texts; arguments and errors as `load_pictures` has them."""
    network = _network(TEXTS, model)
    tokenizer: Any = import_module("transformers").CLIPTokenizer
    return ClipTexts(network, _had(TEXTS, model, lambda: tokenizer.from_pretrained(model)))


def _network(name: str, model: str) -> nn.Module:
    """The whole of CLIP, so that one file of weights has one fingerprint."""
    require(name, "clip", "transformers")
    clip: Any = import_module("transformers").CLIPModel
    # As safetensors only: no pickle is ever read.
    network, told = _had(
        name,
        model,
        lambda: clip.from_pretrained(
            model, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        ),
    )
    if told["missing_keys"]:  # which transformers would fill with random numbers
        raise DataError(
            f"encoder {name}:{model}: it must be a whole CLIP model, but lacks {min(told['missing_keys'])}"
        )
    return network


def _had(name: str, model: str, get: Callable[[], Any]) -> Any:
    try:
        return get()
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:  # all that transformers raises
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            f"encoder {name}:{model}: it cannot be had ({first}). It is downloaded from the Hugging Face hub "
            "at first use, which needs a network; or give a folder that `save_pretrained` wrote, as "
            f"{name}:FOLDER"
        ) from error
