"""Features of hanzi21: eight jittered views of each image through a frozen encoder.

A learner on features meta-trains many times faster than one on images, and the question is its memory, no
longer its eyes. The encoder is trained on 1,200 of the 2,500 meta-train characters; episodes of the split
"train" have the other 1,300, those of "validation" and "test" the 363 and 700 of `hanzi21`.

There are two encoders. "all" has seen every typeface. "print" has seen print faces (styles "ming" and
"gothic") only: meta-train on its features of print faces and test on the others for a shift of domain that
neither encoder nor learner has seen.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import get_args

import torch
from torch import Tensor
from tqdm import tqdm

from mambacl import _core
from mambacl.data import hanzi21
from mambacl.data.cache import cached, key
from mambacl.data.encoder_division import episode_characters
from mambacl.data.feature_classes import FeatureClasses
from mambacl.data.image_classes import ImageClasses
from mambacl.data.jitter import AffineJitter
from mambacl.data.splits import Split
from mambacl.encoders.glyph_encoder import GlyphEncoder, GlyphFaces, load_glyph_encoder, weights_sha256
from mambacl.errors import InvalidValueError

_FORMAT = 1  # to be raised with every change of the views or the computation that the key below does not tell
_SEED = 0
_JITTER = AffineJitter()
_IMAGES_AT_ONCE = 32


def load(
    split: Split,
    *,
    faces: Collection[str] | None = None,
    encoder: GlyphFaces = "all",
    views: int = 8,
    progress: bool = True,
) -> FeatureClasses:
    """Loads the features of one split; the first time they are computed, which takes a minute or so.

    They are kept in the user's cache folder, or in that of the environment variable `MAMBACL_CACHE`.
    Other processors and versions of torch round the last bits otherwise.

    Args:
        split: "train" (1,300 characters), "validation" (363) or "test" (700).
        faces: Keep the images of these typefaces only, as for `hanzi21.load`; None keeps all.
        encoder: "all", or "print" for the encoder that has seen print faces only.
        views: Jittered views of each image, at least 1. The first ones stay the same with more.
        progress: Whether to show a progress bar while computing.

    Returns:
        The features, (n, views, 128) float16.

    Raises:
        InvalidValueError: If the split, a face or the encoder is unknown, no face is named, or `views` is
            below 1.
        DataError: If a packaged file is missing or damaged.
    """
    if encoder not in get_args(GlyphFaces):
        raise InvalidValueError(
            f"hanzi21_features.load: `encoder` must be one of {get_args(GlyphFaces)}, got {encoder!r}"
        )
    if views < 1:
        raise InvalidValueError(f"hanzi21_features.load: `views` must be at least 1, got {views}")
    everything = episode_characters(split, jitter=_JITTER)
    chosen = everything if faces is None else episode_characters(split, faces)
    features = cached(
        _file(split, encoder, views),
        lambda: compute(everything, split, load_glyph_encoder(encoder), views, progress=progress),
    )
    if faces is not None:
        features = features[torch.isin(everything.domains, chosen.domains)]
    return FeatureClasses(
        features, chosen.examples_per_class, chosen.names, chosen.domains, chosen.domain_names
    )


def compute(
    images: ImageClasses, split: Split, encoder: GlyphEncoder, views: int, *, progress: bool = True
) -> Tensor:
    """Encodes jittered views of images.

    View `v` of image `i` is a function of (split, i, v), whatever else is computed.

    Args:
        images: With jitter.
        split: Names the random numbers of the views.
        encoder: In eval mode.
        views: Of each image.
        progress: Whether to show a progress bar.

    Returns:
        (n, views, dim) float16.
    """
    starts = range(0, len(images.images), _IMAGES_AT_ONCE)
    parts: list[Tensor] = []
    # None: shown on a terminal, and never written into a file.
    hidden = None if progress else True
    for start in tqdm(starts, desc=f"features of {split}", disable=hidden, dynamic_ncols=True):
        stop = min(start + _IMAGES_AT_ONCE, len(images.images))
        seen = jittered_views(images, split, range(start, stop), views)
        with torch.inference_mode():
            features = encoder(seen.flatten(0, 1))
        parts.append(features.half().unflatten(0, (stop - start, views)))
    return torch.cat(parts)


def jittered_views(images: ImageClasses, split: Split, numbers: range, views: int) -> Tensor:
    """What the encoder sees of some images.

    Args:
        images: With jitter.
        split: Names the random numbers.
        numbers: Of the images, the row of each in `images.images`.
        views: Of each image.

    Returns:
        (len(numbers), views, channels, height, width) float32, from -1 (background) to 1 (ink).
    """
    each = images.uniforms_per_example
    uniforms = torch.stack([_core.uniforms(_SEED, _stream(split), n, views * each) for n in numbers])
    repeated = torch.tensor(numbers).repeat_interleave(views)
    inputs = images.render(repeated, uniforms.view(-1, each))
    return inputs.unflatten(0, (len(numbers), views))


def _stream(split: Split) -> str:
    """A name that no episode draws from."""
    return f"hanzi21_features/{split}"


def _file(split: Split, encoder: GlyphFaces, views: int) -> str:
    depends_on = {
        "format": _FORMAT,
        "images": hanzi21.sha256(),
        "encoder": weights_sha256(encoder),
        "split": split,
        "views": views,
        "jitter": repr(_JITTER),
    }
    return f"hanzi21-{split}-{encoder}-{views}-{key(depends_on)}.safetensors"
