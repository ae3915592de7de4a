"""Sine regression: its formula and distributions, episodes as a pure function of (seed, split, index)."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mambacl import _core
from mambacl.episodes import Episode, EpisodeSizes
from mambacl.episodes.sine import POINTS, SineEpisodes
from mambacl.errors import InvalidValueError

SMALL = EpisodeSizes(tasks=3, train_shots=2, test_shots=1)
TENSORS = [field.name for field in dataclasses.fields(Episode)]


def source(spec: EpisodeSizes = SMALL, seed: int = 0) -> SineEpisodes:
    return SineEpisodes(spec, seed, "train")


def test_waves_are_those_of_the_formula():
    episode = source(seed=5).batch(7, 1).validate()
    grid = np.linspace(0, 10, 50)
    for task in range(3):
        frequency, x_phase, y_phase = _core.uniforms(5, f"train/sine/task/{task}", 7, 3).tolist()
        for shot in range(2):
            numbers = _core.uniforms(5, f"train/sine/train/{task}", 7, 2 * 51)[51 * shot :].tolist()
            amplitude = 0.5 + numbers[0]
            angle = (0.1 + frequency) * grid
            clean = amplitude * np.sin(angle + 2 * math.pi * x_phase)
            y = amplitude * np.sin(angle + 2 * math.pi * y_phase)
            noise = [
                math.sqrt(-2 * math.log(1 - numbers[1 + i])) * math.cos(2 * math.pi * numbers[26 + i])
                for i in range(25)
            ]
            row = 2 * task + shot
            np.testing.assert_allclose(episode.train_y[0, row], y, atol=1e-6)
            np.testing.assert_allclose(
                episode.train_x[0, row, :25], clean[:25] + 0.1 * np.array(noise), atol=1e-6
            )


def test_what_is_drawn_has_the_distributions_of_the_benchmark():
    """Read back from the waves alone: amplitude, frequency and phase of y by least squares."""
    episode = SineEpisodes(EpisodeSizes(10, 1, 1), 1, "test").batch(0, 60)
    x, y = episode.train_x.flatten(0, 1).double().numpy(), episode.train_y.flatten(0, 1).double().numpy()
    grid, step = np.linspace(0, 10, 50), 10 / 49
    # y[n-1] + y[n+1] = 2 cos(w step) y[n]
    cosine = (y[:, 1:-1] * (y[:, :-2] + y[:, 2:])).sum(1) / (2 * (y[:, 1:-1] ** 2).sum(1))
    frequency = np.arccos(cosine.clip(-1, 1)) / step
    amplitudes, phases, noise = [], [], []
    for one, other, w in zip(x, y, frequency, strict=True):
        basis = np.stack([np.sin(w * grid), np.cos(w * grid)], 1)
        a, b = np.linalg.lstsq(basis, other, rcond=None)[0]
        amplitudes.append(math.hypot(a, b))
        phases.append(math.atan2(b, a) % (2 * math.pi))
        noise.append(one - basis @ np.linalg.lstsq(basis, one, rcond=None)[0])
    for values, low, width in ((frequency, 0.1, 1), (amplitudes, 0.5, 1), (phases, 0, 2 * math.pi)):
        assert stats.kstest(values, "uniform", args=(low, width)).pvalue > 1e-3
    # Two of 50 dimensions are the fit's.
    scaled = np.concatenate(noise) / math.sqrt(48 / 50)
    assert scaled.std() == pytest.approx(0.1, rel=0.02)
    assert stats.kstest(scaled / 0.1, "norm").pvalue > 1e-3


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**64 - 1), first=st.integers(0, 2**63), place=st.integers(0, 2))
def test_an_episode_is_a_function_of_its_index(seed: int, first: int, place: int):
    many, one = source(seed=seed).batch(first, 3), source(seed=seed).batch(first + place, 1)
    for name in TENSORS:
        assert torch.equal(getattr(many, name)[place : place + 1], getattr(one, name)), name


def test_seeds_splits_tasks_and_parts_share_nothing():
    splits = [SineEpisodes(SMALL, 0, split).batch(0, 2) for split in ("train", "validation", "test")]
    drawn = [*splits, source(seed=1).batch(0, 2)]
    waves = torch.cat(
        [wave for one in drawn for wave in (one.train_y.flatten(0, 1), one.test_y.flatten(0, 1))]
    )
    assert len(waves.unique(dim=0)) == len(waves) == 4 * 2 * 9
    amplitudes = waves.abs().amax(1)
    assert len(amplitudes.unique()) == len(waves)


def test_larger_episodes_hold_the_smaller():
    small, large = source().batch(3, 2), source(EpisodeSizes(5, 4, 3)).batch(3, 2)
    for part, shots, more in (("train", 2, 4), ("test", 1, 3)):
        for name in ("x", "y"):
            one, other = getattr(small, f"{part}_{name}"), getattr(large, f"{part}_{name}")
            expected = other.view(2, 5, more, POINTS)[:, :3, :shots]
            assert torch.equal(one.view(2, 3, shots, POINTS), expected), (part, name)


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
        (lambda: source().batch(0, 0), "SineEpisodes: `batch_size` must be at least 1, got 0"),
        (lambda: source(seed=-1).batch(0, 1), r"SineEpisodes: `seed` must be from 0 to 2\^64 - 1, got -1"),
        (lambda: source().batch(2**64 - 1, 2), r"`first_index \+ batch_size - 1` must be"),
        (lambda: source(EpisodeSizes(tasks=0)).batch(0, 1), r"`spec\.tasks` must be at least 1, got 0"),
        (lambda: source(EpisodeSizes(3, 0)).batch(0, 1), r"`spec\.train_shots` must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_drawn(make, message: str):
    with pytest.raises(InvalidValueError, match=message):
        make()
