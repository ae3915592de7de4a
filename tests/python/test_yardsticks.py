"""Yardsticks: against plain loops, and on the benchmark they are printed for."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mambacl.config import VectorEncoder
from mambacl.data import FeatureClasses, hanzi21
from mambacl.episodes import Episode, EpisodeSource, EpisodeSpec
from mambacl.errors import DtypeError, InvalidValueError
from mambacl.yardsticks import Offline, class_mean, nearest_neighbour, ridge_regression


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


def augmented(x: np.ndarray, y: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Map and intercept of ridge regression as least squares with a row more for each input."""
    centred = x - x.mean(0)
    penalty = strength * (centred**2).sum(1).mean()
    rows = np.concatenate([centred, np.sqrt(penalty) * np.eye(x.shape[1])])
    targets = np.concatenate([y - y.mean(0), np.zeros((x.shape[1], y.shape[1]))])
    weight = np.linalg.lstsq(rows, targets, rcond=None)[0]
    return weight, y.mean(0) - x.mean(0) @ weight


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), strength=st.floats(1e-3, 1e3), examples=st.integers(2, 12))
def test_ridge_regression_is_least_squares_with_rows_more(seed: int, strength: float, examples: int):
    """Fewer examples than inputs, and more."""
    generator = torch.Generator().manual_seed(seed)
    x, queries = (torch.randn(2, n, 2, 3, generator=generator) for n in (examples, 4))
    y = torch.randn(2, examples, 2, generator=generator)
    episode = Episode(x, y, queries, torch.zeros(2, 4, 2), torch.zeros(2, 0, dtype=torch.int64))
    for stream, targets, asked, answers in zip(
        x, y, queries, ridge_regression(episode, strength), strict=True
    ):
        inputs = stream.flatten(1).double().numpy()
        weight, intercept = augmented(inputs, targets.double().numpy(), strength)
        expected = asked.flatten(1).double().numpy() @ weight + intercept
        np.testing.assert_allclose(answers.numpy(), expected, rtol=1e-4, atol=1e-5)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_ridge_regression_answers_the_label_whose_target_is_largest(seed: int):
    episode = random_episode(seed)
    answers = ridge_regression(episode)
    for stream, labels, queries, got in zip(
        episode.train_x, episode.train_y, episode.test_x, answers, strict=True
    ):
        weight, intercept = augmented(stream.flatten(1).double().numpy(), np.eye(3)[labels.numpy()], 0.1)
        targets = queries.flatten(1).double().numpy() @ weight + intercept
        assert got.tolist() == targets.argmax(-1).tolist()


def test_ridge_regression_of_long_streams_on_two_threads():
    """Where torch's solver by LU ends in an error of MKL's."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        x = torch.eye(200).repeat(2, 1, 1)
        y = torch.arange(4).repeat(2, 50)
        assert torch.equal(ridge_regression(Episode(x, y, x, y, torch.arange(4).repeat(2, 1))), y)
    finally:
        torch.set_num_threads(threads)


def test_ridge_regression_of_streams_that_tell_nothing():
    """Of equal inputs the commonest label is answered, never one that the stream lacks."""
    x, y = torch.ones(1, 3, 2), torch.tensor([[2, 4, 4]])
    assert ridge_regression(Episode(x, y, 5 * x, y, torch.arange(6)[None])).tolist() == [[4, 4, 4]]
    for strength in (0.0, -1.0, float("nan")):
        with pytest.raises(InvalidValueError, match="`strength` must be a positive number"):
            ridge_regression(Episode(x, y, x, y, torch.arange(6)[None]), strength)


def test_offline_training_learns_what_no_line_divides():
    """Two classes as the opposite corners of a square: the means are the same."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]]).repeat(6, 1)
    y = torch.tensor([5, 5, 2, 2]).repeat(6)
    x = torch.stack([corners + 0.1 * torch.randn(24, 2, generator=generator) for _ in range(4)])
    labels, codebook = y.repeat(2, 1), torch.arange(8).repeat(2, 1)
    episode = Episode(x[:2], labels, x[2:, ::2], labels[:, ::2], codebook)
    offline = Offline(VectorEncoder(2, hidden=(32,)), d_model=16)
    answers = offline(episode)
    assert float((answers == episode.test_y).float().mean()) > 0.9
    assert float((ridge_regression(episode) == episode.test_y).float().mean()) < 0.8
    assert torch.equal(offline(episode), answers)
    alone = Episode(x[1:2], labels[1:], x[3:, ::2], labels[1:, ::2], codebook[1:])
    assert torch.equal(offline(alone), answers[1:])  # whatever else is in the batch


def test_offline_training_draws_no_number_of_the_caller():
    episode, offline = random_episode(0), Offline(VectorEncoder(6), 4, max_steps=2)
    flat = Episode(
        episode.train_x.flatten(2),
        episode.train_y,
        episode.test_x.flatten(2),
        episode.test_y,
        episode.codebook,
    )
    before = torch.get_rng_state()
    answers = offline(flat)
    assert torch.equal(torch.get_rng_state(), before)
    with torch.device("meta"):  # another device than the episode's, as the default of what is made
        assert torch.equal(offline(flat), answers)


@pytest.mark.parametrize("yardstick", [class_mean, Offline(VectorEncoder(2), 4)])
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
        domains=torch.zeros(1200, dtype=torch.int64),
        domain_names=("",),
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
