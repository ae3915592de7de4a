"""The study of selectivity maps: what is measured of associations that are known."""

from __future__ import annotations

import pytest
import torch
from matplotlib import pyplot as plt
from torch import Tensor

from mambacl import Episode
from mambacl.evaluation import own_class
from mambacl.studies.selectivity import Maps, SelectivityMaps
from mambacl.studies.study import Told

TASKS, SHOTS, QUERIES, HEADS, BATCH = 3, 2, 4, 2, 5
TOKENS = 2 * TASKS * SHOTS


def episode() -> Episode:
    train_y = torch.arange(TASKS).repeat_interleave(SHOTS).repeat(BATCH, 1)
    test_y = torch.arange(TASKS).repeat_interleave(QUERIES).repeat(BATCH, 1)
    x, queries = torch.zeros(BATCH, TASKS * SHOTS, 1), torch.zeros(BATCH, TASKS * QUERIES, 1)
    return Episode(x, train_y, queries, test_y, torch.arange(TASKS).repeat(BATCH, 1))


def associated(weights: Tensor) -> Tensor:
    """With weights (batch, Q, tokens), all heads alike."""
    shares = weights.double() / weights.sum(-1, keepdim=True)
    return shares.unsqueeze(1).expand(-1, HEADS, -1, -1)


def test_without_preference_each_class_has_its_share():
    layer = Maps.of([associated(torch.ones(BATCH, TASKS * QUERIES, TOKENS))], episode()).layers[0]
    assert layer.own == pytest.approx(1 / TASKS, abs=1e-4)
    assert layer.own_labels == pytest.approx(1 / TASKS / 2, abs=1e-4)
    assert layer.following == pytest.approx(1 / TOKENS, abs=1e-4)
    assert layer.interval == 0


def test_labels_of_the_own_class_count_as_both():
    labels = own_class(episode()) & (torch.arange(TOKENS) % 2 == 1)
    layer = Maps.of([associated(labels)], episode()).layers[0]
    assert (layer.own, layer.own_labels, layer.following) == (1, 1, 0)


def test_the_token_after_the_own_class_is_told_apart():
    own = own_class(episode())
    after = own.roll(1, -1) & ~own  # the last class's wraps to the first token, which is not after it
    layer = Maps.of([associated(after)], episode()).layers[0]
    assert (layer.own, layer.own_labels, layer.following) == (0, 0, 1)


def test_heads_and_layers_are_kept_apart():
    own = own_class(episode())
    found = torch.stack([associated(own)[:, 0], associated(~own)[:, 0]], dim=1)
    first, second = Maps.of([found, associated(~own)], episode()).layers
    assert (first.own, first.strongest) == (0.5, 1)
    assert (second.own, second.strongest) == (0, 0)


def test_maps_show_the_first_queries_of_each_task_of_one_episode():
    weights = torch.arange(1, TASKS * QUERIES + 1).view(1, -1, 1) * torch.eye(TASKS * QUERIES, TOKENS)
    layer = Maps.of([associated(weights.expand(BATCH, -1, -1))], episode()).layers[0]
    drawn = [0, 1, 4, 5, 8, 9]
    assert torch.equal(torch.tensor(layer.rows).argmax(-1), torch.tensor(drawn))


def test_a_row_of_maps_for_each_learner_and_a_row_of_the_table_for_each_layer():
    uniform = associated(torch.ones(BATCH, TASKS * QUERIES, TOKENS))
    guided = Maps.of([uniform, associated(own_class(episode()))], episode())
    free = Maps.of([uniform, uniform], episode())
    told = [
        Told("sequence-learners", "mamba", guided, 0),
        Told("sequence-learners", "mamba-unguided", free, 0),
        Told("sequence-learners", "mamba-unguided", guided, 1),
    ]
    report = SelectivityMaps().report(told)
    figure = report.figures["maps"]
    images = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title().partition(":")[0] for ax in images] == [
        f"{name}, layer {layer}" for name in ("mamba", "mamba-unguided") for layer in (1, 2)
    ]
    plt.close(figure)
    (table,) = report.tables.values()
    rows = [line.strip("| ").split(" | ")[:3] for line in table.splitlines()[2:]]
    assert rows == [
        ["mamba", "1 of 2", "0.333 ± 0.000"],
        ["mamba", "2 of 2", "1.000 ± 0.000"],
        ["mamba-unguided", "1 of 2", "0.333 (0.333 to 0.333)"],
        ["mamba-unguided", "2 of 2", "0.667 (0.333 to 1.000)"],
    ]
    (caption,) = report.tables
    assert "without any preference it is 0.33" in caption


def test_two_architectures_are_asked():
    study = SelectivityMaps()
    assert study.asks("sequence-learners", "transformer-unguided")
    assert not study.asks("sequence-learners", "prototype")
