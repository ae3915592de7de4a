"""Meta-training: it learns, repeats itself bit for bit, and says when something is wrong."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from gaussian_episodes import GaussianEpisodes
from mambacl import (
    ClassTarget,
    History,
    Learner,
    LearnerConfig,
    MambaMixer,
    Selectivity,
    TrainConfig,
    VectorEncoder,
    evaluate,
    meta_train,
)
from mambacl.errors import ConfigError, NonFiniteError
from mambacl.train import StepRecord
from small_learners import assert_same, tensors


def gaussian_learner(seed: int = 0, **changes: Any) -> Learner:
    settings: dict[str, Any] = {
        "encoder": VectorEncoder(4),
        "target": ClassTarget(6),
        "mixer": MambaMixer(d_state=8),
        "d_model": 32,
        **changes,
    }
    return Learner(LearnerConfig(**settings), seed=seed)


def train(learner: Learner, steps: int = 4, **options: Any) -> History:
    config = TrainConfig(steps=steps, batch_size=4, validate_every=2, validation_episodes=5)
    return meta_train(learner, GaussianEpisodes(seed=0), config, progress=False, **options)


def test_meta_training_learns_to_learn():
    """On classes never seen. Three seeds reached 0.84 to 0.87; a learner that cannot learn 0.33."""
    learner = gaussian_learner()
    fresh = GaussianEpisodes(seed=200)
    assert evaluate(learner, fresh, 100).score.mean < 0.5
    config = TrainConfig(steps=200, batch_size=16, lr=1e-2, warmup_steps=10)
    history = meta_train(learner, GaussianEpisodes(seed=0), config, progress=False)
    assert evaluate(learner, fresh, 100).score.mean > 0.7
    assert history.steps[-1].objective < 0.7 * history.steps[0].objective
    reached = history.steps_to(0.6, window=10)
    assert reached is not None
    assert 10 < reached < 200


def test_the_same_seed_gives_the_same_bits():
    learners = [gaussian_learner(seed) for seed in (5, 5, 6)]
    histories = [train(learner) for learner in learners]
    assert_same(tensors(learners[0]), tensors(learners[1]))
    objectives = [[record.objective for record in history.steps] for history in histories]
    assert objectives[0] == objectives[1] != objectives[2]


def test_a_step_is_adamw_on_the_clipped_gradient():
    trained, by_hand, source = gaussian_learner(), gaussian_learner().train(), GaussianEpisodes(seed=0)
    config = TrainConfig(steps=3, batch_size=4, lr=0.01, clip_norm=0.1, warmup_steps=0, schedule="constant")
    meta_train(trained, source, config, progress=False)
    optimiser = torch.optim.AdamW(by_hand.parameter_groups(config.weight_decay), lr=0.01)
    for step in range(3):
        loss = by_hand(source.batch(4 * step, 4), step).loss
        gradients = torch.autograd.grad(loss, list(by_hand.parameters()))
        norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
        assert norm > config.clip_norm
        for parameter, gradient in zip(by_hand.parameters(), gradients, strict=True):
            parameter.grad = gradient * config.clip_norm / norm
        optimiser.step()
    for name, tensor in tensors(trained).items():
        torch.testing.assert_close(tensor, tensors(by_hand)[name], rtol=1e-4, atol=1e-5, msg=name)


def test_training_draws_nothing_from_torch():
    before = torch.get_rng_state()
    train(gaussian_learner(), validation=GaussianEpisodes(seed=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_steps_see_consecutive_episodes():
    asked: list[tuple[int, int]] = []

    class Recording(GaussianEpisodes):
        def batch(self, first_index: int, batch_size: int):
            asked.append((first_index, batch_size))
            return super().batch(first_index, batch_size)

    config = TrainConfig(steps=3, batch_size=4)
    meta_train(gaussian_learner(), Recording(seed=0), config, progress=False)
    assert asked == [(0, 4), (4, 4), (8, 4)]


def test_history_records_steps_and_validations():
    learner, seen = gaussian_learner(), []
    validation = GaussianEpisodes(seed=1)
    history = train(learner, steps=5, validation=validation, on_step=seen.append)
    assert history.steps == seen
    assert [record.step for record in history.steps] == [1, 2, 3, 4, 5]
    for record in history.steps:
        assert math.isfinite(record.objective)
        assert record.penalty is not None
        assert record.penalty > 0
        assert record.accuracy is not None
        assert 0 <= record.accuracy <= 1
    seconds = [record.seconds for record in history.steps]
    assert seconds == sorted(seconds)
    assert [record.step for record in history.validations] == [2, 4]
    again = gaussian_learner()
    short = train(again, steps=4, validation=validation)
    assert short.validations[-1].score == evaluate(again, validation, 5).score.mean
    assert learner.training


def test_without_a_regulariser_there_is_no_penalty():
    history = train(gaussian_learner(selectivity=None))
    assert all(record.penalty is None for record in history.steps)


def test_the_regulariser_ends_at_its_step():
    history = train(gaussian_learner(selectivity=Selectivity(end_step=2)))
    assert [record.penalty is None for record in history.steps] == [False, False, True, True]


def curve(*accuracies: float | None) -> History:
    records = [StepRecord(i + 1, 1.0, None, accuracy, 0.0) for i, accuracy in enumerate(accuracies)]
    return History(records, [])


def test_accuracy_is_averaged_over_full_windows():
    history = curve(0.0, 0.5, 1.0, 1.0)
    assert history.accuracy(window=2) == [(2, 0.25), (3, 0.75), (4, 1.0)]
    assert history.accuracy(window=5) == []
    assert history.steps_to(0.75, window=2) == 3
    assert history.steps_to(0.76, window=2) == 4
    assert history.steps_to(0.1, window=4) == 4
    assert curve(0.0, 0.5).steps_to(0.9, window=1) is None
    assert curve(None, None).steps_to(0.1, window=1) is None


def test_the_learning_rate_warms_up_and_decays():
    cosine = TrainConfig(steps=100, warmup_steps=10)
    assert cosine.rate(0) == pytest.approx(0.1)
    assert cosine.rate(4) == pytest.approx(0.5 * 0.5 * (1 + math.cos(0.04 * math.pi)))
    assert cosine.rate(9) == pytest.approx(0.5 * (1 + math.cos(0.09 * math.pi)))
    assert cosine.rate(50) == pytest.approx(0.5)
    assert cosine.rate(100) == pytest.approx(0.0)
    constant = TrainConfig(steps=100, warmup_steps=4, schedule="constant")
    assert [constant.rate(step) for step in (0, 1, 3, 4, 99)] == [0.25, 0.5, 1.0, 1.0, 1.0]
    assert TrainConfig(warmup_steps=0, schedule="constant").rate(0) == 1.0


def test_the_optimiser_takes_the_scheduled_rate(monkeypatch: pytest.MonkeyPatch):
    rates: list[float] = []
    step = torch.optim.AdamW.step

    def recording(self: torch.optim.AdamW, *args: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args)

    monkeypatch.setattr(torch.optim.AdamW, "step", recording)
    config = TrainConfig(steps=4, batch_size=2, lr=0.02, warmup_steps=2)
    meta_train(gaussian_learner(), GaussianEpisodes(seed=0), config, progress=False)
    assert rates == pytest.approx([0.02 * config.rate(i) for i in range(4)])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "train: `steps` must be at least 1, got 0"),
        ({"batch_size": 0}, "train: `batch_size` must be at least 1, got 0"),
        ({"validate_every": -1}, "train: `validate_every` must be at least 1, got -1"),
        ({"validation_episodes": 0}, "train: `validation_episodes` must be at least"),
        ({"lr": 0.0}, r"train: `lr` must be a positive number, got 0\.0"),
        ({"lr": math.nan}, "train: `lr` must be a positive number, got nan"),
        ({"clip_norm": -1.0}, r"train: `clip_norm` must be a positive number, got -1\.0"),
        ({"clip_norm": math.inf}, "train: `clip_norm` must be a positive number, got inf"),
        ({"weight_decay": -0.1}, r"train: `weight_decay` must be at least 0, got -0\.1"),
        ({"warmup_steps": -1}, "train: `warmup_steps` must be at least 0, got -1"),
        ({"schedule": "linear"}, "train: `schedule` must be 'constant' or 'cosine', got 'linear'"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**settings)


def test_a_loss_that_is_not_finite_stops_training():
    learner = gaussian_learner()
    poisoned: dict[str, torch.Tensor] = {}

    def poison(record: StepRecord) -> None:
        if record.step == 3:
            with torch.no_grad():
                learner.get_parameter("head.bias").fill_(torch.nan)
            poisoned.update(tensors(learner))

    with pytest.raises(NonFiniteError, match="train: the loss is not finite at step 3, episodes 12 to 15"):
        train(learner, steps=6, on_step=poison)
    for name, parameter in learner.named_parameters():
        assert torch.equal(parameter.nan_to_num(7.0), poisoned[name].nan_to_num(7.0)), name


def test_a_progress_bar_on_request(capsys: pytest.CaptureFixture[str]):
    source, config = GaussianEpisodes(seed=0), TrainConfig(steps=2, batch_size=2)
    meta_train(gaussian_learner(), source, config, progress=False)
    assert capsys.readouterr() == ("", "")
    meta_train(gaussian_learner(), source, config)
    assert "accuracy" in capsys.readouterr().err


def test_a_gradient_that_is_not_finite_stops_before_it_is_used():
    learner = gaussian_learner()
    parameter = next(learner.parameters())
    parameter.register_hook(lambda gradient: gradient * torch.inf)
    before = {name: value.clone() for name, value in learner.named_parameters()}
    with pytest.raises(NonFiniteError, match="the gradient is not finite at step 0, episodes 0 to "):
        train(learner)
    for name, value in learner.named_parameters():
        assert torch.equal(value, before[name])
