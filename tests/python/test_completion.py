"""Completion: two halves make an image, episodes are a function of (seed, split, index)."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mambacl import EpisodeSource, EpisodeSpec
from mambacl.data import hanzi21
from mambacl.episodes import Episode, EpisodeSizes
from mambacl.episodes.completion import CompletionEpisodes
from mambacl.errors import InvalidValueError

SMALL = EpisodeSizes(tasks=3, train_shots=2, test_shots=1)
TENSORS = [field.name for field in dataclasses.fields(Episode)]
CHARACTERS = hanzi21.load("validation")


def source(spec: EpisodeSizes = SMALL, seed: int = 0) -> CompletionEpisodes:
    return CompletionEpisodes(CHARACTERS, spec, seed, "validation")


@pytest.mark.parametrize("part", ["train", "test"])
def test_halves_make_the_images(part: str):
    plain = EpisodeSource(CHARACTERS, EpisodeSpec(3, 2, 1, vocab=3), 4, "validation").batch(6, 2)
    episode = source(seed=4).batch(6, 2).validate()
    top, bottom = (getattr(episode, f"{part}_{name}") for name in "xy")
    assert top.shape[2:] == bottom.shape[2:] == (512,)
    whole = torch.cat([top, bottom], dim=-1).view(*top.shape[:2], 1, 32, 32)
    assert torch.equal(whole, getattr(plain, f"{part}_x"))
    assert whole.unique().tolist() == pytest.approx([-1, -1 / 3, 1 / 3, 1])


def test_examples_are_images_of_their_task_and_queries_are_unseen():
    episode = source(EpisodeSizes(4, 5, 3)).batch(0, 3)
    assert episode.train_task is not None
    assert episode.test_task is not None
    assert episode.train_task.tolist() == [[0] * 5 + [1] * 5 + [2] * 5 + [3] * 5] * 3
    assert episode.test_task.tolist() == [[0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]] * 3
    number = {image.numpy().tobytes(): row for row, image in enumerate(CHARACTERS.images)}
    classes = torch.arange(len(CHARACTERS)).repeat_interleave(CHARACTERS.examples_per_class)
    for x, y, more_x, more_y, tasks, more in zip(
        *(episode.train_x, episode.train_y, episode.test_x, episode.test_y),
        *(episode.train_task, episode.test_task),
        strict=True,
    ):
        halves = torch.cat([torch.cat([x, y], 1), torch.cat([more_x, more_y], 1)]).view(-1, 1, 32, 32)
        levels = ((halves + 1) * 1.5).round().to(torch.uint8)
        rows = [number[image.numpy().tobytes()] for image in levels]
        assert len(set(rows)) == 4 * 8
        shown = classes[rows]
        for task in range(4):
            assert len(shown[torch.cat([tasks, more]) == task].unique()) == 1
        assert len(shown.unique()) == 4


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**64 - 1), first=st.integers(0, 2**63), place=st.integers(0, 2))
def test_an_episode_is_a_function_of_its_index(seed: int, first: int, place: int):
    many, one = source(seed=seed).batch(first, 3), source(seed=seed).batch(first + place, 1)
    for name in TENSORS:
        assert torch.equal(getattr(many, name)[place : place + 1], getattr(one, name)), name


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: source().batch(0, 0), "`batch_size` must be at least 1, got 0"),
        (lambda: source(EpisodeSizes(tasks=364)).batch(0, 1), "364"),
        (lambda: source(EpisodeSizes(3, 20, 5)).batch(0, 1), "shots"),
        (
            lambda: CompletionEpisodes(
                dataclasses.replace(CHARACTERS, images=CHARACTERS.images[..., 1:, :]), SMALL, 0, "train"
            ),
            "CompletionEpisodes: `images` must have an even height, in pixels, got 31",
        ),
    ],
)
def test_what_cannot_be_drawn(make, message: str):
    with pytest.raises(InvalidValueError, match=message):
        make()
