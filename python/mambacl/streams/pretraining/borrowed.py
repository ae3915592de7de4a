"""Classes of an episode from features of real things."""

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
    """The sets that episodes are drawn from, by turns: characters, pictures of emoji, definitions of words.
    Another one is added here.

    Args:
        split: "train", or "validation" for classes that meta-training does not see.

    Raises:
        ConfigError: If the extra `encoders` is not installed.
    """
    pictures = features(data_set("emoji").load(split), frozen_encoder("efficientnet-lite0"))
    texts = features(data_set("glosses").load(split), frozen_encoder("wordllama"))
    return (hanzi21_features.load(split), pictures, texts)


@dataclass(frozen=True, eq=False)
class BorrowedClasses:
    """The classes of one episode: each is a class of the set, or several, which are its clusters.

    The stream has the first half of a class's examples, queries the second: none is in both.

    Attributes:
        features: The set.
        members: Classes of the set, (tasks, clusters).
    """

    features: FeatureClasses
    members: NDArray[np.int64]

    @staticmethod
    def drawn(generator: np.random.Generator, features: FeatureClasses, tasks: int) -> BorrowedClasses:
        """Classes of an episode, of those with two examples at least."""
        enough = np.flatnonzero(features.examples_per_class.numpy() >= 2)
        clusters = 1 if generator.random() < 0.5 else int(generator.integers(2, _MEMBERS + 1))
        clusters = min(clusters, len(enough) // tasks)
        chosen = generator.choice(enough, size=(tasks, clusters), replace=False)
        return BorrowedClasses(features, chosen.astype(np.int64))

    def examples(
        self, generator: np.random.Generator, labels: NDArray[np.int64], *, queries: bool
    ) -> NDArray[np.float64]:
        """One example for each label, in a view by chance; an example may come again.

        Args:
            generator: Of the examples.
            labels: (n,), below the number of classes.
            queries: Whether they are asked, and not read.

        Returns:
            (n, dim).
        """
        classes = self.members[labels, generator.integers(self.members.shape[1], size=len(labels))]
        counts = self.features.examples_per_class.numpy()[classes]
        half = (counts + 1) // 2
        among = np.where(queries, counts - half, half)
        examples = (generator.random(len(labels)) * among).astype(np.int64) + queries * half
        views = torch.from_numpy(generator.random((len(labels), self.features.uniforms_per_example)))
        x = self.features.inputs(torch.from_numpy(classes), torch.from_numpy(examples), views)
        return x.double().numpy()
