"""Classes of an episode from the features of real data sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mambacl.data import hanzi21_features
from mambacl.data.feature_classes import FeatureClasses
from mambacl.data.features import features
from mambacl.data.sets import data_set
from mambacl.data.splits import Split
from mambacl.encoders import frozen_encoder

_MEMBERS = 3


def feature_sets(split: Split) -> tuple[FeatureClasses, ...]:
    """The feature sets that episodes use in turn: characters, pictures of emoji, definitions of words. To add
    a set, add it here.

    Args:
        split: Split of the classes: "train", or "validation" for classes that meta-training does not see.

    Raises:
        ConfigError: If the extra `encoders` is not installed.
    """
    pictures = features(data_set("emoji").load(split), frozen_encoder("efficientnet-lite0"))
    texts = features(data_set("glosses").load(split), frozen_encoder("wordllama"))
    return (hanzi21_features.load(split), pictures, texts)


@dataclass(frozen=True, eq=False)
class BorrowedClasses:
    """The classes of one episode. Each consists of one class of the set, or of several as clusters.

    The stream uses the first half of a class's examples, queries the second half, so that none is in both.

    Attributes:
        features: Feature set.
        members: Classes of the set, (tasks, clusters) int64.
    """

    features: FeatureClasses
    members: NDArray[np.int64]

    @staticmethod
    def drawn(generator: np.random.Generator, features: FeatureClasses, tasks: int) -> BorrowedClasses:
        """Draws the classes of an episode from those with at least two examples."""
        enough = np.flatnonzero(features.examples_per_class.numpy() >= 2)
        clusters = 1 if generator.random() < 0.5 else int(generator.integers(2, _MEMBERS + 1))
        clusters = min(clusters, len(enough) // tasks)
        chosen = generator.choice(enough, size=(tasks, clusters), replace=False)
        return BorrowedClasses(features, chosen.astype(np.int64))

    def examples(
        self, generator: np.random.Generator, labels: NDArray[np.int64], *, queries: bool
    ) -> NDArray[np.float64]:
        """Draws one example for each label, in a random view; an example may be drawn several times.

        Args:
            generator: Source of random numbers.
            labels: Labels, (n,) int64, below the number of classes.
            queries: Whether the examples are queries; otherwise they belong to the stream.

        Returns:
            Features, (n, dim) float64.
        """
        classes = self.members[labels, generator.integers(self.members.shape[1], size=len(labels))]
        counts = self.features.examples_per_class.numpy()[classes]
        half = (counts + 1) // 2
        among = np.where(queries, counts - half, half)
        examples = (generator.random(len(labels)) * among).astype(np.int64) + queries * half
        views = torch.from_numpy(generator.random((len(labels), self.features.uniforms_per_example)))
        x = self.features.inputs(torch.from_numpy(classes), torch.from_numpy(examples), views)
        return x.double().numpy()
