"""Data whose classes the mixture of the pretrained learner has not."""

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
"""(n, features) and the labels 0, 1, ..., (n,)."""

EMOJI = 20
"""Classes of a stream of emoji, which have 7 or 8 examples each."""

GLOSSES = (10, 100)
"""Classes of a stream of glosses, and the most examples of each."""


def held_out_emoji(seed: int) -> Examples:
    """Pictures of emoji of the split "test", no variant of which is in another split, by EfficientNet."""
    classes = features(data_set("emoji").load("test"), frozen_encoder("efficientnet-lite0"))
    return _drawn(classes, seed, EMOJI, 8)


def held_out_glosses(seed: int) -> Examples:
    """Definitions below hypernyms of the split "test" (no subtree is in two), by WordLlama."""
    classes = features(data_set("glosses").load("test"), frozen_encoder("wordllama"))
    return _drawn(classes, seed, *GLOSSES)


def _drawn(classes: FeatureClasses, seed: int, tasks: int, most: int) -> Examples:
    """Some classes by chance, with their first examples."""
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
"""Data sets by name, each a function of a seed, by which classes are drawn where there are many."""
