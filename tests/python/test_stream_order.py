"""Orders of streams: which labels come when, and that nothing else of an episode changes with them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from itertools import groupby
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mambacl.data import FeatureClasses
from mambacl.episodes import EpisodeSource, EpisodeSpec
from mambacl.errors import ConfigError, InvalidValueError
from mambacl.experiments.files import load
from mambacl.stream_order import Order, PlainOrder, stream_labels

ORDERS: tuple[PlainOrder, ...] = get_args(PlainOrder)
SPEC = EpisodeSpec(tasks=3, train_shots=3, test_shots=2, vocab=8)


def source(order: Order, spec: EpisodeSpec = SPEC, seed: int = 0) -> EpisodeSource:
    """Of 12 classes of 9 examples: vectors (class, example)."""
    pairs = torch.cartesian_prod(torch.arange(12), torch.arange(9))
    classes = FeatureClasses(
        features=pairs.unsqueeze(1).half(),
        examples_per_class=torch.full((12,), 9),
        names=tuple(map(str, range(12))),
        domains=torch.arange(9).repeat(12),
        domain_names=tuple(map(str, range(9))),
    )
    return EpisodeSource(classes, dataclasses.replace(spec, order=order), seed, "train")


def rows(x: Tensor) -> list[tuple[float, ...]]:
    return [tuple(row) for row in x.tolist()]


@settings(deadline=None)
@given(
    order=st.sampled_from(ORDERS),
    tasks=st.integers(1, 7),
    shots=st.integers(2, 5),
    spare=st.integers(0, 4),
    seed=st.integers(0, 2**64 - 1),
    index=st.integers(0, 2**64 - 1),
)
def test_labels_count_classes_as_they_appear(
    order: PlainOrder, tasks: int, shots: int, spare: int, seed: int, index: int
):
    labels = stream_labels(order, tasks, shots, shots + spare, seed, "test", index).tolist()
    assert list(dict.fromkeys(labels)) == list(range(tasks))
    assert len(labels) == tasks * shots
    counts = Counter(labels).values()
    if order == "imbalanced":
        assert 1 <= min(counts) <= max(counts) <= shots + spare
    else:
        assert set(counts) == {shots}
    visits = Counter(label for label, _ in groupby(labels)).values()
    if order in ("contiguous", "imbalanced"):
        assert set(visits) == {1}
    elif order == "recurring" and tasks > 1:
        assert set(visits) == {2}


def test_orders_by_hand():
    assert stream_labels("contiguous", 2, 3, 3, 0, "train", 0).tolist() == [0, 0, 0, 1, 1, 1]
    assert stream_labels("recurring", 2, 5, 5, 0, "train", 0).tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 1, 1]
    assert stream_labels("imbalanced", 2, 3, 3, 0, "train", 0).tolist() == [0, 0, 0, 1, 1, 1]  # none to spare


def test_shuffled_streams_are_uniform():
    """Two classes of two: with the first example's class as 0, its other example is next, third or last."""
    found = Counter(
        tuple(stream_labels("shuffled", 2, 2, 2, 0, "train", index).tolist()) for index in range(6000)
    )
    assert set(found) == {(0, 0, 1, 1), (0, 1, 0, 1), (0, 1, 1, 0)}
    assert all(abs(count - 2000) < 4 * (6000 * 2 / 9) ** 0.5 for count in found.values())


def test_all_ways_to_share_examples_out_are_as_likely():
    """Of 3 classes and 6 examples, at least one each, there are 10."""
    found = Counter(
        tuple(stream_labels("imbalanced", 3, 2, 6, 0, "train", index).bincount().tolist())
        for index in range(10_000)
    )
    assert len(found) == 10
    assert all(sum(shares) == 6 for shares in found)
    assert all(abs(count - 1000) < 4 * (10_000 * 0.09) ** 0.5 for count in found.values())


def test_labels_do_not_depend_on_the_batch_and_change_with_the_index():
    made = source("shuffled").batch(0, 20)
    assert len(set(map(tuple, made.train_y.tolist()))) > 10
    assert torch.equal(made.train_y[7:8], source("shuffled").episode(7).train_y)
    assert torch.equal(made.train_x[7:8], source("shuffled").episode(7).train_x)
    assert not torch.equal(made.train_y, source("shuffled", seed=1).batch(0, 20).train_y)


@pytest.mark.parametrize("compound", [1, 2])
@pytest.mark.parametrize("order", ORDERS)
def test_only_the_order_changes(order: PlainOrder, compound: int):
    spec = dataclasses.replace(SPEC, compound=compound)
    plain, made = source("contiguous", spec).batch(3, 8), source(order, spec).batch(3, 8).validate()
    assert torch.equal(plain.test_x, made.test_x)
    assert torch.equal(plain.test_y, made.test_y)
    assert torch.equal(plain.codebook, made.codebook)
    for index in range(8):
        for label in range(3):
            of_label = rows(made.train_x[index][made.train_y[index] == label])
            expected = rows(plain.train_x[index][plain.train_y[index] == label])
            shared = min(len(of_label), len(expected))
            assert of_label[:shared] == expected[:shared]
            assert len(of_label) == 3 or order == "imbalanced"
            asked = rows(made.test_x[index][made.test_y[index] == label])
            assert len({*of_label, *asked}) == len(of_label) + 2  # none twice, none both read and asked


def test_imbalanced_streams_read_up_to_what_queries_leave():
    counts = [labels.bincount().max().item() for labels in source("imbalanced").batch(0, 200).train_y]
    assert max(counts) == 7  # of 9 examples, 2 asked
    full = source("imbalanced", dataclasses.replace(SPEC, train_shots=7)).episode(0)
    assert full.train_y[0].bincount().tolist() == [7, 7, 7]


def test_a_mixture_takes_turns():
    mixed = source("mixture").batch(5, 8)
    for place, index in enumerate(range(5, 13)):
        one = source(ORDERS[index % 4]).episode(index)
        assert torch.equal(mixed.train_x[place : place + 1], one.train_x)
        assert torch.equal(mixed.train_y[place : place + 1], one.train_y)


@pytest.mark.parametrize(
    ("order", "shots", "message"),
    [
        ("recurring", 1, r"`spec\.train_shots` must be at least 2 where `spec\.order` is 'recurring', got 1"),
        ("mixture", 1, r"`spec\.train_shots` must be at least 2 where `spec\.order` is 'mixture', got 1"),
        ("shuffled", 0, r"`spec\.train_shots` must be at least 1 where `spec\.order` is 'shuffled', got 0"),
        ("imbalanced", 8, "train_shots .* test_shots = 10 for every class, got 9"),
        ("backwards", 3, r"`spec\.order` must be one of 'contiguous', .*'mixture', got 'backwards'"),
    ],
)
def test_streams_that_there_are_not(order: Order, shots: int, message: str):
    with pytest.raises(InvalidValueError, match=message):
        source(order, dataclasses.replace(SPEC, train_shots=shots)).episode(0)


def test_the_order_is_a_setting_of_an_experiment():
    experiment = load("glyphs-mamba", ["data.order=shuffled"])
    labels = experiment.source("validation").batch(0, 1).train_y[0].tolist()
    assert sorted(labels) == [label for label in range(5) for _ in range(5)] != labels
    with pytest.raises(ConfigError, match=r"`data\.order` must be 'contiguous', .* or 'mixture', got 'any'"):
        load("glyphs-mamba", ["data.order=any"])
