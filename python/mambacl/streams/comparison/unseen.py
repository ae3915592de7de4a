"""Data sets whose classes are not in the mixture of the packaged learners."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_digits, load_wine

from mambacl.data.feature_classes import FeatureClasses
from mambacl.data.features import features
from mambacl.data.sets import data_set
from mambacl.encoders import frozen_encoder

Examples = tuple[NDArray[np.float64], NDArray[np.int64]]
"""Features, (n, features), and labels 0, 1, ..., (n,)."""

EMOJI = 20
"""Number of classes of a stream of emoji; each class has 7 or 8 examples."""

GLOSSES = (10, 100)
"""Number of classes of a stream of glosses, and largest number of examples of each."""


def held_out_emoji(seed: int) -> Examples:
    """Emoji of the split "test", encoded by EfficientNet; no variant of them is in another split."""
    classes = features(data_set("emoji").load("test"), frozen_encoder("efficientnet-lite0"))
    return _drawn(classes, seed, EMOJI, 8)


def held_out_glosses(seed: int) -> Examples:
    """Word definitions of the split "test", encoded by WordLlama; splits share no subtree of hypernyms."""
    classes = features(data_set("glosses").load("test"), frozen_encoder("wordllama"))
    return _drawn(classes, seed, *GLOSSES)


def _drawn(classes: FeatureClasses, seed: int, tasks: int, most: int) -> Examples:
    """Some classes drawn at random, with at most `most` examples each."""
    chosen: list[int] = np.random.default_rng(seed).choice(len(classes), size=tasks, replace=False).tolist()
    counts: list[int] = classes.examples_per_class.tolist()
    firsts = [sum(counts[:c]) for c in chosen]
    rows = [np.arange(first, first + min(counts[c], most)) for first, c in zip(firsts, chosen, strict=True)]
    labels = np.repeat(np.arange(tasks), [len(part) for part in rows])
    return classes.features[np.concatenate(rows), 0].double().numpy(), labels


def _of(load: Callable[..., Any]) -> Callable[[int], Examples]:
    return lambda _: load(return_X_y=True)


UNSEEN: dict[str, Callable[[int], Examples]] = {
    "digits": _of(load_digits),
    "wine": _of(load_wine),
    "breast cancer": _of(load_breast_cancer),
    "emoji": held_out_emoji,
    "glosses": held_out_glosses,
}
"""Data sets by name, as functions of a seed; it selects the classes of sets with many."""
