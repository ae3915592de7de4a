"""Noise on inputs: its numbers, and what the study tells of learners whose answers are known."""

from __future__ import annotations

import dataclasses
import math
from statistics import NormalDist

import pytest
import torch
from matplotlib import pyplot as plt
from torch import Tensor

from gaussian_episodes import GaussianEpisodes
from mambacl import _core
from mambacl.errors import InvalidValueError
from mambacl.experiments.files import load
from mambacl.studies import Told
from mambacl.studies.curve import Curve, Point
from mambacl.studies.noise import Noise, NoiseCurve, noise_unit, noisy
from mambacl.studies.noisy_episodes import NoisyEpisodes
from written_outcomes import written_outcome

PLAIN = GaussianEpisodes(seed=0)


def added(source: NoisyEpisodes, first: int = 0, count: int = 4) -> tuple[Tensor, Tensor]:
    """The noise on the stream and on the queries."""
    plain, made = source.source.batch(first, count), source.batch(first, count)
    return made.train_x - plain.train_x, made.test_x - plain.test_x


def test_noise_is_normal_and_independent():
    train, test = added(NoisyEpisodes(GaussianEpisodes(seed=0, dim=100), 3.0), count=50)
    both = torch.cat([train.flatten(), test.flatten()]).double() / 3
    count = len(both)
    assert count == 50 * 12 * 100
    assert abs(both.mean()) < 4 / count**0.5
    assert abs(both.var() - 1) < 4 * (2 / count) ** 0.5
    for quantile in (0.01, 0.25, 0.5, 0.9, 0.999):
        share = float((both < NormalDist().inv_cdf(quantile)).double().mean())
        assert abs(share - quantile) < 4 * (quantile * (1 - quantile) / count) ** 0.5
    numbers = train.flatten(1) / 3  # of the 50 episodes
    correlations = torch.corrcoef(numbers) - torch.eye(50)
    assert correlations.abs().max() < 6 / numbers.shape[1] ** 0.5
    assert not torch.equal(train, test)


def test_noise_is_the_inverse_of_the_distribution_function():
    uniforms = _core.uniforms(0, "noise/train", 7, 6 * 4)
    expected = [NormalDist(0, 0.5).inv_cdf(u + 2**-25) for u in uniforms.double().tolist()]
    train, _ = added(NoisyEpisodes(PLAIN, 0.5), first=7, count=1)
    assert train.flatten().tolist() == pytest.approx(expected, abs=1e-6)


def test_noise_belongs_to_the_episode_and_scales():
    source = NoisyEpisodes(PLAIN, 0.5)
    whole = source.batch(3, 5)
    assert torch.equal(whole.train_x[2:3], source.batch(5, 1).train_x)
    assert torch.equal(whole.test_x[2:3], source.batch(5, 1).test_x)
    for one, twice in zip(added(source), added(NoisyEpisodes(PLAIN, 1.0)), strict=True):
        assert torch.allclose(2 * one, twice, atol=1e-5)
    long = NoisyEpisodes(GaussianEpisodes(seed=0, train_shots=5), 0.5)
    assert torch.allclose(added(long)[1], added(source)[1], atol=1e-6)  # queries have their own


def test_no_noise_and_targets_are_left_alone():
    plain, made = PLAIN.batch(0, 3), NoisyEpisodes(PLAIN, 0.0).batch(0, 3)
    loud = NoisyEpisodes(PLAIN, 10.0).batch(0, 3)
    for field in dataclasses.fields(plain):
        value = getattr(plain, field.name)
        if value is None:
            continue
        assert torch.equal(value, getattr(made, field.name))
        assert torch.equal(value, getattr(loud, field.name)) == (not field.name.endswith("_x"))


@pytest.mark.parametrize("std", [-0.1, math.nan, math.inf])
def test_noise_that_there_is_not(std: float):
    with pytest.raises(InvalidValueError, match=f"NoisyEpisodes: `std` must be a number from 0, got {std}"):
        NoisyEpisodes(PLAIN, std)


def test_features_are_measured_and_images_are_not():
    features, images = load("features-mamba"), load("glyphs-mamba")
    x = features.source("test").batch(0, 20).train_x
    assert noise_unit(features) == pytest.approx(float(x.numpy().std()), rel=1e-3)
    assert noise_unit(images) == 1.0
    clean = images.source("test").batch(0, 2)
    noise = noisy(images, 0.2).batch(0, 2).test_x - clean.test_x
    assert float(noise.std()) == pytest.approx(0.2, rel=0.02)


def told(sweep: str, learner: str, *means: float, seed: int | None = 0) -> Told[NoiseCurve]:
    points = tuple(Point(at, mean, 0.01) for at, mean in zip((0, 1, 10), means, strict=True))
    outcome = None if seed is None else written_outcome("features-mamba", learner)
    return Told(sweep, learner, NoiseCurve(0.5, Curve(points)), seed, outcome)


def test_learners_asked_twice_stand_beside_one_another():
    report = Noise().report(
        [
            told("sequence-learners", "mamba", 0.9, 0.7, 0.2),
            told("sequence-learners", "mamba", 0.8, 0.5, 0.2, seed=1),
            told("sequence-learners", "mamba-unguided", 0.7, 0.6, 0.2),
            told("sequence-learners", "gemcl", 0.99, 0.9, 0.3),
            told("pixels-5x5", "mamba", 0.6, 0.4, 0.2),
            told("sequence-learners", "class mean", 0.98, 0.9, 0.4, seed=None),
            told("pixels-5x5", "class mean", 0.95, 0.5, 0.2, seed=None),
        ]
    )
    shown = {
        name: {ax.get_title(): [line.get_label() for line in ax.get_lines()] for ax in figure.get_axes()}
        for name, figure in report.figures.items()
    }
    assert shown == {
        "noise": {
            "on the embedding": ["chance", "mamba", "class mean"],
            "on the image": ["chance", "mamba", "class mean"],
        },
        "embedding": {
            "other learners, on the embedding": ["chance", "gemcl"],
            "without the regulariser, on the embedding": ["chance", "mamba"],
        },
    }
    left = report.figures["noise"].get_axes()[0].get_lines()[1]
    right = report.figures["embedding"].get_axes()[1].get_lines()[1]
    assert left.get_linestyle() == right.get_linestyle()  # one learner, with the regulariser and without
    assert list(left.get_ydata()) == pytest.approx([0.85, 0.6, 0.2])
    embedding, image = report.tables.items()
    assert "in units of 0.500, that of the features" in embedding[0]
    assert (
        "| mamba | 0.850 (0.800 to 0.900) | 0.600 (0.500 to 0.700) | 0.200 (0.200 to 0.200) |" in embedding[1]
    )
    assert "| mamba-unguided | 0.700 ± 0.010 |" in embedding[1]
    assert "pixels are from -1 to 1" in image[0]
    assert "| class mean | 0.950 ± 0.010 | 0.500 ± 0.010 | 0.200 ± 0.010 |" in image[1]
    assert "gemcl" not in image[1]
    for figure in report.figures.values():
        plt.close(figure)


def test_rows_that_are_asked():
    asks = Noise().asks
    assert asks("sequence-learners", "mamba-2")
    assert asks("sequence-learners", "transformer-unguided")
    assert not asks("sequence-learners", "mamba-2-unguided")
