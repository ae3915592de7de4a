"""Evaluation: scores and what may be said of their mean; the learner is left as it was."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from gaussian_episodes import GaussianEpisodes
from mambacl import AngleTarget, Episode, Scores, VectorTarget, evaluate, evaluate_predictor
from mambacl.config import Target
from mambacl.errors import InvalidValueError
from mambacl.yardsticks import class_mean, nearest_neighbour
from small_learners import DIM, VOCAB, assert_same, small_episode, small_learner, tensors

SOURCE = GaussianEpisodes(seed=0, dim=DIM, vocab=VOCAB)


@dataclasses.dataclass(frozen=True)
class VectorEpisodes:
    """Episodes of vector targets."""

    target: Target

    def batch(self, first_index: int, batch_size: int) -> Episode:
        """Episodes `first_index` to `first_index + batch_size - 1`."""
        parts = [
            small_episode(batch=1, target=self.target, seed=first_index + offset)
            for offset in range(batch_size)
        ]
        joined = {
            field.name: torch.cat([getattr(part, field.name) for part in parts])
            for field in dataclasses.fields(Episode)
        }
        return Episode(**joined)


def test_mean_and_interval_are_those_of_numpy():
    values = np.random.default_rng(0).random(50)
    scores = Scores(torch.from_numpy(values))
    assert scores.mean == pytest.approx(values.mean())
    assert scores.interval == pytest.approx(1.96 * values.std(ddof=1) / np.sqrt(50))
    assert str(Scores(torch.tensor([0.25, 0.75], dtype=torch.float64))) == "0.500 ± 0.490"


def test_each_episode_has_its_own_score():
    learner = small_learner()
    scores = evaluate(learner, SOURCE, 7, batch_size=3)
    assert scores.values.shape == (7,)
    assert scores.values.dtype == torch.float64
    learner.eval()
    for index, value in enumerate(scores.values.tolist()):
        assert value == pytest.approx(learner(SOURCE.batch(index, 1)).accuracy.item())
    assert scores.values.unique().numel() > 1


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_scores_do_not_depend_on_the_batch(batch_size: int):
    want = evaluate(small_learner(), SOURCE, 9).values
    assert torch.equal(evaluate(small_learner(), SOURCE, 9, batch_size=batch_size).values, want)


@pytest.mark.parametrize("mode", [True, False])
def test_the_learner_is_left_as_it_was(mode: bool):
    learner = small_learner().train(mode)
    before, random = tensors(learner), torch.get_rng_state()
    evaluate(learner, SOURCE, 4)
    assert learner.training is mode
    assert_same(tensors(learner), before)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in learner.parameters())
    assert torch.is_grad_enabled()


def test_the_mode_comes_back_after_an_error():
    learner = small_learner().train()
    with pytest.raises(InvalidValueError):
        evaluate(learner, SOURCE, 1)
    assert learner.training


def test_training_mode_scores_as_evaluation_mode():
    one, other = evaluate(small_learner().train(), SOURCE, 5), evaluate(small_learner().eval(), SOURCE, 5)
    assert torch.equal(one.values, other.values)


def test_yardsticks_see_the_same_episodes():
    asked: dict[str, list[Episode]] = {"learner": [], "yardstick": []}

    @dataclasses.dataclass(frozen=True)
    class Recording(GaussianEpisodes):
        name: str = "learner"

        def batch(self, first_index: int, batch_size: int) -> Episode:
            asked[self.name].append(super().batch(first_index, batch_size))
            return asked[self.name][-1]

    evaluate(small_learner(), Recording(seed=0, dim=DIM, vocab=VOCAB), 5, batch_size=2)
    source = Recording(seed=0, dim=DIM, vocab=VOCAB, name="yardstick")
    scores = evaluate_predictor(nearest_neighbour, source, 5, batch_size=2)
    assert [e.batch_size for e in asked["learner"]] == [2, 2, 1]
    for one, other in zip(asked["learner"], asked["yardstick"], strict=True):
        assert torch.equal(one.train_x, other.train_x)
        assert torch.equal(one.test_x, other.test_x)
    assert scores.mean > 0.9  # the classes are far apart


def test_a_predictor_is_scored_by_the_share_it_gets_right():
    first = evaluate_predictor(lambda episode: torch.zeros_like(episode.test_y), SOURCE, 4)
    assert first.values.tolist() == pytest.approx([1 / 3] * 4)
    assert evaluate_predictor(lambda episode: episode.test_y, SOURCE, 4).mean == 1.0
    assert evaluate_predictor(class_mean, SOURCE, 20).mean > 0.9


def test_the_whole_vocabulary_is_harder():
    learner = small_learner()
    with torch.no_grad():
        learner.get_parameter("head.bias").mul_(10.0)  # symbols now matter more than what was read
    among_seen = evaluate(learner, SOURCE, 30)
    whole = evaluate(learner, SOURCE, 30, whole_vocabulary=True)
    assert (whole.values <= among_seen.values).all()
    assert whole.mean < among_seen.mean


@pytest.mark.parametrize("target", [VectorTarget(3), AngleTarget()])
def test_vector_targets_are_scored_by_their_loss(target: Target):
    learner, source = small_learner(target=target), VectorEpisodes(target)
    scores = evaluate(learner, source, 5, batch_size=2)
    learner.eval()
    want = [learner(source.batch(index, 1)).objective.item() for index in range(5)]
    assert scores.values.tolist() == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("episodes", [1, 0, -5])
def test_too_few_episodes(episodes: int):
    message = f"evaluate: argument `episodes` must be at least 2, got {episodes}"
    with pytest.raises(InvalidValueError, match=message):
        evaluate(small_learner(), SOURCE, episodes)
    with pytest.raises(InvalidValueError, match=message):
        evaluate_predictor(nearest_neighbour, SOURCE, episodes)
