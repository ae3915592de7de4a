"""How well features tell unseen characters apart without any learning, beside the pixels they come from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from mambacl.data import hanzi21
from mambacl.data.encoder_division import episode_characters
from mambacl.data.feature_classes import FeatureClasses
from mambacl.data.hanzi21_features import compute
from mambacl.data.jitter import AffineJitter
from mambacl.data.splits import Split
from mambacl.encoders.glyph_encoder import GlyphEncoder, GlyphFaces
from mambacl.episodes import EpisodeSource, EpisodeSpec
from mambacl.evaluation import evaluate_predictor
from mambacl.yardsticks import class_mean, nearest_neighbour

PRINT_STYLES = ("ming", "gothic")
"""The styles of print faces."""

_OTHER_STYLES = tuple(style for style in hanzi21.STYLES if style not in PRINT_STYLES)
_PREDICTORS = {"class mean": class_mean, "nearest neighbour": nearest_neighbour}
_VIEWS = 8
_SEED = 0


def faces_of(faces: GlyphFaces) -> tuple[str, ...] | None:
    """The faces that an encoder is trained on, as `hanzi21.load` takes them."""
    return PRINT_STYLES if faces == "print" else None


@dataclass(frozen=True)
class Figure:
    """The accuracy of one predictor over episodes of jittered images.

    Attributes:
        split: Of the characters.
        faces: The styles of the faces in the episodes, both read and asked.
        tasks: Characters of an episode.
        train_shots: Images read of each.
        test_shots: Images asked of each.
        inputs: "features" or "pixels".
        predictor: Which yardstick.
        accuracy: Mean over episodes.
        interval: Half its 95 % interval over episodes.
    """

    split: Split
    faces: str
    tasks: int
    train_shots: int
    test_shots: int
    inputs: str
    predictor: str
    accuracy: float
    interval: float


def measure(
    encoder: GlyphEncoder, faces: GlyphFaces, split: Split, *, episodes: int = 600, progress: bool = True
) -> list[Figure]:
    """Measures class mean and nearest neighbour at 5 and 20 tasks of 5 shots.

    An encoder of print faces is measured on print faces, with 3 queries of a character since there are 8
    such faces, and on the others, which it has never seen.

    Args:
        encoder: In eval mode.
        faces: That it was trained on.
        split: Of the characters.
        episodes: For each figure, at least 2.
        progress: Whether to show a progress bar while computing features.

    Returns:
        The figures.
    """
    groups: list[tuple[str, Collection[str] | None, int]] = [("all", None, 5)]
    if faces == "print":
        groups = [(", ".join(PRINT_STYLES), PRINT_STYLES, 3), (", ".join(_OTHER_STYLES), _OTHER_STYLES, 5)]
    figures: list[Figure] = []
    for name, kept, test_shots in groups:
        pixels = episode_characters(split, kept, AffineJitter())
        features = FeatureClasses(
            compute(pixels, split, encoder, _VIEWS, progress=progress),
            pixels.examples_per_class,
            pixels.names,
            pixels.domains,
            pixels.domain_names,
        )
        for tasks in (5, 20):
            spec = EpisodeSpec(tasks, train_shots=5, test_shots=test_shots)
            for inputs, classes in (("features", features), ("pixels", pixels)):
                source = EpisodeSource(classes, spec, _SEED, split)
                for predictor, answer in _PREDICTORS.items():
                    scores = evaluate_predictor(answer, source, episodes)
                    figures.append(
                        Figure(
                            split, name, tasks, 5, test_shots, inputs, predictor, scores.mean, scores.interval
                        )
                    )
    return figures


def table(figures: list[Figure]) -> str:
    """The figures as lines to print."""
    lines = [
        "split       faces                 tasks x shots + queries  inputs    predictor          accuracy"
    ]
    for f in figures:
        sizes = f"{f.tasks} x {f.train_shots} + {f.test_shots}"
        lines.append(
            f"{f.split:<11} {f.faces:<21} {sizes:<24} {f.inputs:<9} {f.predictor:<18} "
            f"{f.accuracy:.3f} ± {f.interval:.3f}"
        )
    return "\n".join(lines)
