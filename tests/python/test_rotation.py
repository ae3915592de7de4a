"""Rotation: targets are the angles that images are turned by, episodes a function of (seed, split, index)."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats
from torch import Tensor

from mambacl import EpisodeSource, EpisodeSpec
from mambacl.data import ImageClasses, Split, hanzi21
from mambacl.episodes import Episode, EpisodeSizes
from mambacl.episodes.rotation import RotationEpisodes
from mambacl.errors import InvalidValueError

SMALL = EpisodeSizes(tasks=3, train_shots=2, test_shots=1)
TENSORS = [field.name for field in dataclasses.fields(Episode)]
CHARACTERS = hanzi21.load("validation")


def classes_of_dots(count: int = 12, shots: int = 8) -> ImageClasses:
    """Tiny images, no two alike."""
    n = count * shots
    images = torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(0)).mul(255).to(torch.uint8)
    return ImageClasses(
        images=images,
        examples_per_class=torch.full((count,), shots),
        names=tuple(map(str, range(count))),
        domains=torch.zeros(n, dtype=torch.int64),
        domain_names=("only",),
        max_level=255,
    )


DOTS = classes_of_dots()


def source(
    spec: EpisodeSizes = SMALL, seed: int = 0, split: Split = "train", images: ImageClasses = DOTS
) -> RotationEpisodes:
    return RotationEpisodes(images, spec, seed, split)


def upright(spec: EpisodeSizes, seed: int, split: Split, first: int, count: int) -> Episode:
    """The images before they are turned."""
    plain = EpisodeSpec(spec.tasks, spec.train_shots, spec.test_shots, vocab=spec.tasks)
    return EpisodeSource(CHARACTERS, plain, seed, split).batch(first, count)


def angles(targets: Tensor) -> Tensor:
    """Of (..., 2), in radians."""
    return torch.atan2(targets[..., 1].double(), targets[..., 0].double())


@pytest.mark.parametrize("part", ["train", "test"])
def test_images_are_turned_by_their_targets(part: str):
    sizes = EpisodeSizes(tasks=4, train_shots=3, test_shots=2)
    plain = upright(sizes, 7, "validation", 2, 2)
    episode = source(sizes, 7, "validation", CHARACTERS).batch(2, 2).validate()
    assert len(torch.cat([plain.train_x, plain.test_x], 1)[0].flatten(1).unique(dim=0)) == 4 * 5  # none twice
    before = getattr(plain, f"{part}_x").flatten(0, 1).squeeze(1).double().numpy()
    after = getattr(episode, f"{part}_x").flatten(0, 1).squeeze(1).double().numpy()
    degrees = angles(getattr(episode, f"{part}_y")).rad2deg().flatten().tolist()
    # Within this circle nothing comes from outside; scipy and we treat borders differently.
    grid = np.arange(32) - 15.5
    inside = np.hypot(grid[:, None], grid[None]) < 14.5
    for one, turned, angle in zip(before, after, degrees, strict=True):
        there = ndimage.rotate(one, angle, reshape=False, order=1, cval=-1.0)
        np.testing.assert_allclose(turned[inside], there[inside], atol=2e-4)
        back = ndimage.rotate(turned, -angle, reshape=False, order=1, cval=-1.0)
        other = ndimage.rotate(turned, angle, reshape=False, order=1, cval=-1.0)
        error, error_other = (np.square(each - one)[inside].mean() for each in (back, other))
        assert error < 0.15
        if abs(math.sin(math.radians(2 * angle))) > 0.5:  # or both are about the same angle
            assert error < error_other / 2
    assert np.abs(after).max() <= 1 + 1e-5


def test_what_comes_in_is_background():
    few = CHARACTERS.select(range(6))
    full = dataclasses.replace(few, images=torch.full_like(few.images, few.max_level))
    episode = source(EpisodeSizes(5, 5, 1), images=full).batch(0, 4)
    corners = episode.train_x[..., [0, 0, -1, -1], [0, -1, 0, -1]].flatten(0, 1).squeeze(1)
    slanted = (angles(episode.train_y).flatten() * 2).sin().abs() > 0.9  # near half a right angle
    assert slanted.any()
    torch.testing.assert_close(corners[slanted], torch.full_like(corners[slanted], -1))
    inner = episode.train_x[..., 6:26, 6:26]
    torch.testing.assert_close(inner, torch.ones_like(inner))


def test_angles_are_uniform_and_independent():
    episode = RotationEpisodes(DOTS, EpisodeSizes(3, 4, 4), 5, "test").batch(0, 200)
    stream, queries = angles(episode.train_y), angles(episode.test_y)
    for values in (stream, queries):
        assert stats.kstest(values.flatten(), "uniform", args=(-math.pi, 2 * math.pi)).pvalue > 1e-3
    numbers = torch.cat([stream, queries], dim=1)  # of each place in the episode
    assert len(numbers.unique()) > 0.99 * numbers.numel()
    circular = torch.cat([numbers.cos(), numbers.sin()], dim=1).T
    correlations = torch.corrcoef(circular) - torch.eye(len(circular), dtype=torch.float64)
    assert correlations.abs().max() < 5 / 200**0.5
    for targets in (episode.train_y, episode.test_y):
        torch.testing.assert_close(targets.square().sum(-1), torch.ones(targets.shape[:2]))


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**64 - 1), first=st.integers(0, 2**63), place=st.integers(0, 2))
def test_an_episode_is_a_function_of_its_index(seed: int, first: int, place: int):
    many, one = source(seed=seed).batch(first, 3), source(seed=seed).batch(first + place, 1)
    for name in TENSORS:
        assert torch.equal(getattr(many, name)[place : place + 1], getattr(one, name)), name


def test_seeds_splits_and_parts_share_no_angles():
    splits: tuple[Split, ...] = ("train", "validation", "test")
    drawn = [*(source(split=split).batch(0, 2) for split in splits), source(seed=1).batch(0, 2)]
    targets = torch.cat([y.flatten(0, 1) for one in drawn for y in (one.train_y, one.test_y)])
    assert len(targets.unique(dim=0)) == len(targets) == 4 * 2 * 9


def test_larger_episodes_hold_the_smaller():
    small, large = source().batch(3, 2), source(EpisodeSizes(5, 4, 3)).batch(3, 2)
    for part, shots, more in (("train", 2, 4), ("test", 1, 3)):
        for name in ("x", "y"):
            one, other = getattr(small, f"{part}_{name}"), getattr(large, f"{part}_{name}")
            expected = other.view(2, 5, more, *other.shape[2:])[:, :3, :shots]
            assert torch.equal(one.view(expected.shape), expected), (part, name)


def test_tasks_come_one_after_another_and_are_asked_of():
    episode = source(EpisodeSizes(2, 3, 2)).batch(0, 2).validate()
    assert episode.train_task is not None
    assert episode.test_task is not None
    assert episode.train_task.tolist() == [[0, 0, 0, 1, 1, 1]] * 2
    assert episode.test_task.tolist() == [[0, 0, 1, 1]] * 2
    assert episode.codebook.shape == (2, 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: source().batch(0, 0), "`batch_size` must be at least 1, got 0"),
        (lambda: source(seed=-1).batch(0, 1), r"`seed` must be from 0 to 2\^64 - 1, got -1"),
        (lambda: source(EpisodeSizes(tasks=0)).batch(0, 1), "tasks"),
        (lambda: source(EpisodeSizes(tasks=13)).batch(0, 1), "13"),
        (lambda: source(EpisodeSizes(3, 6, 3)).batch(0, 1), "shots"),
    ],
)
def test_what_cannot_be_drawn(make, message: str):
    with pytest.raises(InvalidValueError, match=message):
        make()
