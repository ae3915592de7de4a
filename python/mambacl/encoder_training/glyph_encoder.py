"""Trains a glyph encoder again: `python -m mambacl.encoder_training.glyph_encoder --out FILE`.

Plain classification of jittered images by cross-entropy; class scores are cosines, so that features are
trained for what they are used for, their directions.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import safetensors.torch
import torch
import torch.nn.functional as F
import tyro
from torch import Tensor, nn
from tqdm import tqdm

from mambacl import durable
from mambacl.data.encoder_division import encoder_characters
from mambacl.data.image_classes import ImageClasses
from mambacl.data.jitter import AffineJitter
from mambacl.encoder_training.glyph_figures import faces_of, measure, table
from mambacl.encoders.glyph_encoder import GlyphEncoder, GlyphFaces, packed_weights, with_weights
from mambacl.errors import ConfigError
from mambacl.processes.script import script
from mambacl.ranges import Count, Episodes, Range, Seed, Share, check


@dataclass(frozen=True)
class TrainGlyphEncoder:
    """Train a frozen encoder on 1,200 meta-train characters of hanzi21.

    On one thread the same seed gives the same weights. The defaults were chosen on meta-validation.

    Attributes:
        out: File for the weights (safetensors, float16); a JSON of settings and figures is put beside it.
        faces: Typefaces to train on: "all", or "print" for the styles ming and gothic.
        epochs: Passes over the images.
        batch_size: Images of an update.
        lr: Largest learning rate of AdamW.
        weight_decay: Of convolutions and linear maps.
        scale: By which cosines are multiplied before the softmax.
        label_smoothing: Share of the target spread over all classes.
        seed: Of first weights, order and jitter.
        test: Measure meta-test characters too, once every choice is made.
        episodes: For each figure.

    Raises:
        ConfigError: If a number is out of its range.
    """

    out: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    faces: GlyphFaces = "all"
    epochs: Count = 20
    batch_size: Annotated[int, Range(2, 16_384)] = 128
    lr: Annotated[float, Range(0, 1_000, above=True)] = 3e-3
    weight_decay: Annotated[float, Range(0, 1_000)] = 0.05
    scale: Annotated[float, Range(0, 1e6, above=True)] = 8.0
    label_smoothing: Share = 0.1
    seed: Seed = 0
    test: bool = False
    episodes: Episodes = 600

    def __post_init__(self) -> None:
        check(self, "glyph encoder")


def train(images: ImageClasses, settings: TrainGlyphEncoder, *, progress: bool = True) -> GlyphEncoder:
    """Trains an encoder to classify jittered images.

    Args:
        images: With jitter, at least one batch of them.
        settings: How to train.
        progress: Whether to show a progress bar.

    Returns:
        The encoder as it will lie in the package: rounded to float16, in eval mode, without gradients.

    Raises:
        ConfigError: If there are fewer images than a batch.
    """
    count = len(images.images)
    batches = count // settings.batch_size
    if not batches:
        raise ConfigError(
            f"glyph encoder: `batch_size` must be at most the number of images, {count}, "
            f"got {settings.batch_size}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        encoder = GlyphEncoder()
        prototypes = nn.Parameter(torch.randn(len(images), encoder.DIM))
    generator = torch.Generator().manual_seed(settings.seed)
    labels = torch.arange(len(images)).repeat_interleave(images.examples_per_class)  # (count,)
    optimiser = torch.optim.AdamW(_groups(encoder, prototypes, settings.weight_decay), lr=settings.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.lr, total_steps=settings.epochs * batches, pct_start=0.2
    )
    encoder.train()
    with tqdm(total=settings.epochs * batches, disable=not progress, unit="step", dynamic_ncols=True) as bar:
        for _ in range(settings.epochs):
            order = torch.randperm(count, generator=generator)[: batches * settings.batch_size]
            for numbers in order.split(settings.batch_size):
                uniforms = torch.rand(len(numbers), images.uniforms_per_example, generator=generator)
                features = encoder(images.render(numbers, uniforms))
                cosines = F.normalize(features) @ F.normalize(prototypes).T  # (batch, classes)
                logits, target = settings.scale * cosines, labels[numbers]
                loss = F.cross_entropy(logits, target, label_smoothing=settings.label_smoothing)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
                accuracy = (logits.argmax(1) == target).float().mean()
                bar.update()
                bar.set_postfix_str(f"loss {loss.item():.3f}, accuracy {accuracy.item():.3f}", refresh=False)
    return with_weights(packed_weights(encoder))


def _groups(encoder: GlyphEncoder, prototypes: Tensor, weight_decay: float) -> list[dict[str, object]]:
    """Norms have no weight decay."""
    maps = [parameter for parameter in encoder.parameters() if parameter.ndim > 1]
    norms = [parameter for parameter in encoder.parameters() if parameter.ndim == 1]
    return [
        {"params": [*maps, prototypes], "weight_decay": weight_decay},
        {"params": norms, "weight_decay": 0.0},
    ]


def run(settings: TrainGlyphEncoder) -> str:
    """Trains, measures, and writes the weights and the JSON beside them.

    Args:
        settings: How to train.

    Returns:
        A table of figures to print.

    Raises:
        OSError: If a file cannot be written.
    """
    settings.out.parent.mkdir(parents=True, exist_ok=True)  # before the work: told at once if it cannot be
    began = time.perf_counter()
    encoder = train(encoder_characters(faces_of(settings.faces), AffineJitter()), settings)
    seconds = time.perf_counter() - began
    figures = measure(encoder, settings.faces, "validation", episodes=settings.episodes)
    if settings.test:
        figures += measure(encoder, settings.faces, "test", episodes=settings.episodes)

    contents = safetensors.torch.save(packed_weights(encoder))
    durable.write(settings.out, contents)
    description = {
        "sha256": hashlib.sha256(contents).hexdigest(),
        "settings": {name: value for name, value in asdict(settings).items() if name != "out"},
        "figures": [asdict(figure) for figure in figures],
    }
    durable.write(settings.out.with_suffix(".json"), (json.dumps(description, indent=1) + "\n").encode())
    return f"{table(figures)}\nTrained in {seconds:.0f} s, {len(contents):,} bytes: {settings.out}"


if __name__ == "__main__":
    script(TrainGlyphEncoder, run, "mambacl.encoder_training.glyph_encoder")
