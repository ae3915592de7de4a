"""Yardsticks: against plain loops, and on the benchmark they are printed for."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mambacl.data import FeatureClasses, hanzi21
from mambacl.episodes import Episode, EpisodeSource, EpisodeSpec
from mambacl.errors import DtypeError
from mambacl.yardsticks import class_mean, nearest_neighbour


def random_episode(seed: int) -> Episode:
    """Two episodes of 3 classes with 4 examples each; the label order differs between the two."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.stack([torch.arange(3).repeat(4)[torch.randperm(12, generator=generator)] for _ in "ab"])
    return Episode(
        train_x=torch.randn(2, 12, 2, 3, generator=generator),
        train_y=labels,
        test_x=torch.randn(2, 5, 2, 3, generator=generator),
        test_y=torch.zeros(2, 5, dtype=torch.int64),
        codebook=torch.arange(8).repeat(2, 1),
    )


def closest(query: torch.Tensor, points: list[torch.Tensor]) -> int:
    return min(range(len(points)), key=lambda i: float((query - points[i]).square().sum()))


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_nearest_neighbour_agrees_with_a_loop(seed: int):
    episode = random_episode(seed)
    expected = [
        [int(labels[closest(query, list(stream))]) for query in queries]
        for stream, labels, queries in zip(episode.train_x, episode.train_y, episode.test_x, strict=True)
    ]
    assert nearest_neighbour(episode).tolist() == expected


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_class_mean_agrees_with_a_loop(seed: int):
    episode = random_episode(seed)
    expected = [
        [closest(query, [stream[labels == label].mean(0) for label in range(3)]) for query in queries]
        for stream, labels, queries in zip(episode.train_x, episode.train_y, episode.test_x, strict=True)
    ]
    assert class_mean(episode).tolist() == expected


def test_class_mean_never_answers_a_label_its_stream_lacks():
    x = torch.tensor([[[5.0], [6.0]], [[5.0], [6.0]]])
    y = torch.tensor([[0, 2], [1, 3]])
    query = torch.zeros(2, 1, 1)  # nearest to where the mean of an absent label would be
    episode = Episode(x, y, query, torch.zeros(2, 1, dtype=torch.int64), torch.arange(4).repeat(2, 1))
    assert class_mean(episode).tolist() == [[0], [1]]


@pytest.mark.parametrize("yardstick", [nearest_neighbour, class_mean])
def test_vector_targets_are_refused(yardstick):
    x, y = torch.randn(1, 4, 2), torch.randn(1, 4, 3)
    with pytest.raises(DtypeError, match=r"must hold int64 labels, got torch\.float32"):
        yardstick(Episode(x, y, x, y, torch.zeros(1, 0, dtype=torch.int64)))


def test_accuracy_on_hanzi21_is_as_known():
    """Rough bounds: a wrong label, image or normalisation moves these figures by far more."""
    source = EpisodeSource(hanzi21.load("validation"), EpisodeSpec(tasks=5), seed=0, split="validation")
    episode = source.batch(0, 100)
    accuracy = {
        f: float((f(episode) == episode.test_y).float().mean()) for f in (nearest_neighbour, class_mean)
    }
    assert accuracy[nearest_neighbour] == pytest.approx(0.83, abs=0.04)
    assert accuracy[class_mean] == pytest.approx(0.78, abs=0.04)


def test_compound_classes_have_no_middle():
    """Points with little noise: what is nearest tells the class, the mean of three does not."""
    points = torch.randn(60, 1, 24, generator=torch.Generator().manual_seed(0))
    noise = 0.3 * torch.randn(60, 20, 24, generator=torch.Generator().manual_seed(1))
    classes = FeatureClasses(
        features=(points + noise).view(1200, 1, 24),
        examples_per_class=torch.full((60,), 20),
        names=tuple(map(str, range(60))),
        faces=torch.zeros(1200, dtype=torch.int64),
        face_names=("",),
    )
    found: dict[int, list[float]] = {}
    for compound in (1, 3):
        spec = EpisodeSpec(tasks=15, train_shots=15, test_shots=5, compound=compound)
        episode = EpisodeSource(classes, spec, 0, "test").batch(0, 40)
        found[compound] = [
            float((yardstick(episode) == episode.test_y).float().mean())
            for yardstick in (nearest_neighbour, class_mean)
        ]
    assert min(found[1]) > 0.99
    assert found[3][0] > 0.97
    assert found[3][1] < 0.9
