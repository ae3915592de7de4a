"""Meta-training: it learns, repeats itself bit for bit, and says when something is wrong."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from gaussian_episodes import GaussianEpisodes, gaussian_learner
from mambacl import AngleTarget, Episode, History, Learner, Selectivity, TrainConfig, evaluate, meta_train
from mambacl.errors import ConfigError, InvalidValueError, NonFiniteError
from mambacl.training import StepRecord, Trainer, ValidationRecord
from mambacl.training.history import from_log, to_log
from small_learners import assert_same, small_episode, small_learner, tensors


def train(learner: Learner, steps: int = 4, **options: Any) -> History:
    config = TrainConfig(steps=steps, batch_size=4, validate_every=2, validation_episodes=5)
    return meta_train(learner, GaussianEpisodes(seed=0), config, progress=False, **options)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_meta_training_learns_to_learn(precision: Any):
    """On classes never seen. Three seeds reached 0.84 to 0.87; a learner that cannot learn 0.33. In bfloat16
    seed 0 reached 0.88."""
    learner = gaussian_learner()
    fresh = GaussianEpisodes(seed=200)
    assert evaluate(learner, fresh, 100).score.mean < 0.5
    config = TrainConfig(steps=200, batch_size=16, lr=1e-2, warmup_steps=10, precision=precision)
    history = meta_train(learner, GaussianEpisodes(seed=0), config, progress=False)
    assert evaluate(learner, fresh, 100).score.mean > 0.7
    assert history.steps[-1].objective < 0.7 * history.steps[0].objective
    reached = history.steps_to(0.6, window=10)
    assert reached is not None
    assert 10 < reached < 200


def test_in_bfloat16_all_that_stays_is_float32():
    """And the products are not: another loss shows that autocast reached the engine."""
    config = TrainConfig(batch_size=4)
    trainers = [
        Trainer(small_learner(), Small(), replace(config, precision=precision))
        for precision in ("float32", "bfloat16")
    ]
    for trainer in trainers:
        for _ in range(2):
            trainer.step()
        trainer.settle()
        state = trainer.state()
        assert any("running" in name for name in state["model"])
        assert {value.dtype for part in state.values() for value in part.values()} == {torch.float32}
        assert {
            parameter.grad.dtype for parameter in trainer.learner.parameters() if parameter.grad is not None
        } == {torch.float32}
    exact, rounded = (trainer.history.steps[0].objective for trainer in trainers)
    assert exact != rounded
    assert exact == pytest.approx(rounded, rel=0.05)


class Small:
    """Episodes for `small_learner`, whose encoder has a hidden layer."""

    def batch(self, first_index: int, batch_size: int) -> Episode:
        return small_episode(batch_size, seed=first_index)


def test_the_same_seed_gives_the_same_bits():
    learners = [gaussian_learner(seed) for seed in (5, 5, 6)]
    histories = [train(learner) for learner in learners]
    assert_same(tensors(learners[0]), tensors(learners[1]))
    objectives = [[record.objective for record in history.steps] for history in histories]
    assert objectives[0] == objectives[1] != objectives[2]


@pytest.mark.parametrize(("name", "optimiser"), [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam)])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_step_is_one_of_the_optimiser_on_the_clipped_gradient(
    name: Any, optimiser: Callable[..., torch.optim.Optimizer], accumulation: int
):
    trained, by_hand, source = gaussian_learner(), gaussian_learner().train(), GaussianEpisodes(seed=0)
    config = TrainConfig(
        steps=3,
        batch_size=4,
        accumulation=accumulation,
        optimiser=name,
        lr=0.01,
        betas=(0.8, 0.95),
        weight_decay=0.1,
        clip_norm=0.1,
        warmup_steps=0,
        schedule="constant",
    )
    history = meta_train(trained, source, config, progress=False)
    steps = optimiser(by_hand.parameter_groups(0.1), lr=0.01, betas=(0.8, 0.95))
    size = 4 // accumulation
    for step in range(3):
        before, parts, moved = tensors(by_hand), [], []
        for part in range(accumulation):
            for name, buffer in by_hand.named_buffers():
                buffer.copy_(before[name])
            parts.append(by_hand(source.batch(4 * step + size * part, size), step).loss)
            moved.append({name: buffer.clone() for name, buffer in by_hand.named_buffers()})
        loss = sum(parts) / accumulation
        gradients = torch.autograd.grad(loss, list(by_hand.parameters()))
        norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
        assert norm > config.clip_norm
        assert history.steps[step].loss == pytest.approx(loss.item(), rel=1e-4)
        assert history.steps[step].gradient_norm == pytest.approx(norm.item(), rel=1e-3)
        for parameter, gradient in zip(by_hand.parameters(), gradients, strict=True):
            parameter.grad = gradient * config.clip_norm / norm
        for name, buffer in by_hand.named_buffers():
            buffer.copy_(sum(part[name] for part in moved) / accumulation)
        steps.step()
    for key, tensor in tensors(trained).items():
        torch.testing.assert_close(tensor, tensors(by_hand)[key], rtol=1e-3, atol=1e-4, msg=key)


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
    assert [record.step for record in history.validations] == [2, 4, 5]
    assert history.validations[-1].score == evaluate(learner, validation, 5).score.mean
    assert history.seconds == history.validations[-1].seconds
    assert history.best() == max(history.validations, key=lambda record: record.score)
    assert learner.training


def test_what_a_step_measured_comes_with_the_next():
    trainer = Trainer(gaussian_learner(), GaussianEpisodes(0), TrainConfig(batch_size=2))
    assert trainer.settle() is None
    assert trainer.step() is None
    told = [trainer.step(), trainer.step(), trainer.settle()]
    assert [record.step for record in told if record is not None] == [1, 2, 3]
    assert trainer.settle() is None
    assert trainer.history.steps == told
    assert trainer.done == 3


class Reads(TorchDispatchMode):
    """Notes each tensor that the host reads: on a GPU it would wait there."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[int] = []
        self.paused = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        reading = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        if func in reading and not self.paused:
            self.read.append(args[0].data_ptr())
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("non_finite", ["stop", "skip"])
def test_a_step_waits_for_nothing_of_its_own(non_finite: Any):
    config = TrainConfig(batch_size=4, accumulation=2, non_finite=non_finite)
    trainer = Trainer(gaussian_learner(), GaussianEpisodes(0), config)
    trainer.step()
    # An optimiser that is not fused counts its steps on the host, wherever the parameters are.
    counters = [value for name, value in trainer.state()["optimiser"].items() if name.endswith(".step")]
    trainer.settle()
    reads = Reads()
    # What the engine reads to check its arguments is its own affair.
    trainer.learner.register_forward_pre_hook(lambda *_: setattr(reads, "paused", True))
    trainer.learner.register_forward_hook(lambda *_: setattr(reads, "paused", False))
    with reads:
        trainer.step()
    assert set(reads.read) <= ({value.data_ptr() for value in counters} if non_finite == "stop" else set())
    reads.read.clear()
    with reads:
        assert trainer.learner.get_parameter("head.bias").sum().item() is not None
    assert len(reads.read) == 1  # it does see what is read


def test_records_are_of_the_learner_before_its_update():
    learner, source = gaussian_learner(), GaussianEpisodes(seed=0)
    expected = gaussian_learner().train()(source.batch(0, 4), 0)
    record = train(learner, steps=1).steps[0]
    assert record.objective == pytest.approx(expected.objective.item())
    assert record.penalty == pytest.approx(expected.penalty.item())
    assert record.accuracy == pytest.approx(expected.accuracy.item())
    assert record.loss == pytest.approx(record.objective + 0.5 * (record.penalty or 0), rel=1e-5)


def test_without_a_regulariser_there_is_no_penalty():
    history = train(gaussian_learner(selectivity=None))
    assert all(record.penalty is None for record in history.steps)


def test_the_regulariser_ends_at_its_step():
    history = train(gaussian_learner(selectivity=Selectivity(end_step=2)))
    assert [record.penalty is None for record in history.steps] == [False, False, True, True]


def a_step(step: int, accuracy: float | None = None) -> StepRecord:
    return StepRecord(step, 1.5, 1.0, 1.0, accuracy, 2.0, 1e-3, float(step))


def curve(*accuracies: float | None) -> History:
    return History([a_step(i + 1, accuracy) for i, accuracy in enumerate(accuracies)])


def test_accuracy_is_averaged_over_full_windows():
    history = curve(0.0, 0.5, 1.0, 1.0)
    assert history.accuracy(window=2) == [(2, 0.25), (3, 0.75), (4, 1.0)]
    assert history.accuracy(window=5) == []
    assert history.steps_to(0.75, window=2) == 3
    assert history.steps_to(0.76, window=2) == 4
    assert history.steps_to(0.1, window=4) == 4
    assert curve(0.0, 0.5).steps_to(0.9, window=1) is None
    assert curve(None, None).steps_to(0.1, window=1) is None


def test_the_best_is_the_first_of_equals():
    validations = [
        ValidationRecord(step, score, 0.1, 0.0) for step, score in ((1, 0.5), (2, 0.7), (3, 0.7), (4, 0.2))
    ]
    history = History([], validations)
    assert history.best() == validations[1]
    assert history.best(higher_is_better=False) == validations[3]
    assert History().best() is None
    lost = ValidationRecord(5, math.nan, 0.1, 0.0)
    assert History([], [lost, *validations]).best() == validations[1]
    assert History([], [lost]).best() is None


def test_a_history_comes_back_from_its_log():
    records = [a_step(1, 0.5), a_step(2), ValidationRecord(2, 0.5, 0.1, 3.0)]
    history = from_log([to_log(record) for record in records])
    assert history == History(records[:2], records[2:])
    lost = StepRecord(3, math.nan, math.inf, None, None, math.inf, 1e-3, 1.0)
    worst = ValidationRecord(3, math.inf, math.nan, 4.0)
    logged = [to_log(lost), to_log(worst)]
    assert logged[0]["loss"] is None
    back = from_log(logged)
    assert math.isnan(back.steps[0].loss)
    assert back.steps[0].penalty is None
    assert math.isnan(back.validations[0].score)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"speed": 1.0}, "speed"),
        ({"loss": "1.0"}, "loss"),
        ({"lr": None}, "lr"),
        ({"accuracy": [0.5]}, "accuracy"),
        ({"seconds": True}, "seconds"),
        ({"skipped": 1}, "skipped"),
        ({"score": 0.5}, "interval"),
        ({"score": {}, "interval": 0.1}, "score"),
    ],
)
def test_a_record_of_other_types_is_named(change: dict[str, Any], place: str):
    good = to_log(a_step(1))
    with pytest.raises(InvalidValueError, match=f"line 2 must be of a step or a meta-.*`{place}`"):
        from_log([good, {**good, **change}])


def test_a_record_of_a_version_without_skips():
    old = {name: value for name, value in to_log(a_step(1)).items() if name != "skipped"}
    assert from_log([old]).steps == [a_step(1)]


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
    steps = TrainConfig(steps=100, warmup_steps=0, schedule="step", decay_every=10, decay=0.5)
    assert [steps.rate(step) for step in (0, 9, 10, 19, 20, 35)] == [1.0, 1.0, 0.5, 0.5, 0.25, 0.125]


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
        ({"steps": 0}, "train: `steps` must be from 1 to 1,000,000,000, got 0"),
        ({"batch_size": 0}, "train: `batch_size` must be from 1 to 16,384, got 0"),
        ({"validate_every": -1}, "train: `validate_every` must be from 1 to 1,000,000,000, got -1"),
        ({"validation_episodes": 0}, "train: `validation_episodes` must be from 2 to 1,000,000, got 0"),
        ({"lr": 0.0}, r"train: `lr` must be above 0 and at most 1,000, got 0\.0"),
        ({"lr": math.nan}, "train: `lr` must be above 0 and at most 1,000, got nan"),
        ({"clip_norm": -1.0}, r"train: `clip_norm` must be above 0 and at most 1e.30, got -1\.0"),
        ({"clip_norm": math.inf}, "train: `clip_norm` must be above 0 and at most 1e.30, got inf"),
        ({"weight_decay": -0.1}, r"train: `weight_decay` must be from 0 to 1,000, got -0\.1"),
        ({"warmup_steps": -1}, "train: `warmup_steps` must be from 0 to 1,000,000,000, got -1"),
        ({"weight_decay": math.nan}, "train: `weight_decay` must be from 0 to 1,000, got nan"),
        (
            {"schedule": "linear"},
            "train: `schedule` must be one of .*'constant', 'cosine', 'step'.*, got 'linear'",
        ),
        ({"optimiser": "sgd"}, "train: `optimiser` must be one of .*, got 'sgd'"),
        ({"precision": "float16"}, "train: `precision` must be one of .*, got 'float16'"),
        ({"non_finite": "ignore"}, "train: `non_finite` must be one of .*, got 'ignore'"),
        ({"batch_size": 6, "accumulation": 4}, "train: `accumulation` must be a divisor of 6, got 4"),
        ({"betas": (0.9, 1.0)}, r"train: `betas` must be at least 0 and below 1, got 1\.0"),
        ({"betas": (0.9,)}, "train: `betas` must be two numbers, got"),
        ({"decay": 0.0}, r"train: `decay` must be above 0 and at most 1, got 0\.0"),
        ({"checkpoint_every": 0}, "train: `checkpoint_every` must be from 1 to 1,000,000,000, got 0"),
        ({"keep": 0}, "train: `keep` must be from 1 to 1,000,000,000, got 0"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**settings)


def finite(values: dict[str, Tensor]) -> bool:
    return all(bool(value.isfinite().all()) for value in values.values())


class TooLarge:
    """What the episodes of the third step hold is too large for float32.

    Args:
        part: Of an episode.
        factor: It is multiplied by.
    """

    def __init__(self, part: str, factor: float) -> None:
        self.part, self.factor = part, factor

    def batch(self, first_index: int, batch_size: int) -> Episode:
        episode = GaussianEpisodes(0).batch(first_index, batch_size)
        if first_index != 8:
            return episode
        return replace(episode, **{self.part: getattr(episode, self.part) * self.factor})


OVERFLOWS = [(TooLarge("test_x", 1e38), "the gradient"), (TooLarge("train_x", 1e30), "a running statistic")]


@pytest.mark.parametrize(("source", "what"), OVERFLOWS)
def test_what_is_not_finite_stops_training_one_step_late(source: TooLarge, what: str):
    trainer = Trainer(gaussian_learner(), source, TrainConfig(batch_size=4))
    for _ in range(3):
        trainer.step()
    assert finite(tensors(trainer.learner))
    with pytest.raises(NonFiniteError, match=rf"^train: {what} is not finite at step 3, episodes 8 to 11$"):
        trainer.step()
    assert finite(tensors(trainer.learner))
    assert finite(dict(trainer.state()["optimiser"]))
    assert [record.step for record in trainer.history.steps] == [1, 2]


def test_a_loss_that_is_not_finite_is_told_of_the_last_step_too():
    learner = gaussian_learner()

    def poison(record: StepRecord) -> None:
        """Step 2 has been made by now; step 3 computes with NaN."""
        if record.step == 1:
            with torch.no_grad():
                learner.get_parameter("head.bias").fill_(torch.nan)

    with pytest.raises(NonFiniteError, match=r"^train: the loss is not finite at step 3, episodes 8 to 11$"):
        train(learner, steps=3, on_step=poison)
    others = {name: value for name, value in tensors(learner).items() if name != "head.bias"}
    assert finite(others)


def test_a_gradient_that_is_not_finite_is_not_used():
    learner = gaussian_learner()
    parameter = next(learner.parameters())
    parameter.register_hook(lambda gradient: gradient * torch.inf)
    config = TrainConfig(steps=4, batch_size=4, weight_decay=0.0)
    before = {name: value.clone() for name, value in learner.named_parameters()}
    with pytest.raises(NonFiniteError, match="the gradient is not finite at step 1, episodes 0 to 3"):
        meta_train(learner, GaussianEpisodes(seed=0), config, progress=False)
    assert_same(dict(learner.named_parameters()), before)


@pytest.mark.parametrize(("source", "what"), OVERFLOWS)
@pytest.mark.parametrize("optimiser", ["adamw", "adam"])
def test_a_skipped_update_changes_nothing(source: TooLarge, what: str, optimiser: Any):
    config = TrainConfig(batch_size=4, non_finite="skip", optimiser=optimiser, warmup_steps=0)
    trainer = Trainer(gaussian_learner(), source, config)

    def all_tensors() -> dict[str, Tensor]:
        return {
            f"{part}/{name}": value.clone()
            for part, group in trainer.state().items()
            for name, value in group.items()
        }

    states = [all_tensors()]
    for _ in range(5):
        trainer.step()
        states.append(all_tensors())
    trainer.settle()
    assert_same(states[3], states[2])
    assert not torch.equal(states[4]["model/head.bias"], states[3]["model/head.bias"])
    assert finite(states[5])
    assert states[5]["optimiser/head.bias.step"] == 4
    assert [record.step for record in trainer.history.steps] == [1, 2, 3, 4, 5]
    assert math.isfinite(trainer.history.steps[2].gradient_norm) == (what != "the gradient")


def test_too_many_skips_in_a_row_stop_training():

    class Lost(GaussianEpisodes):
        """Queries of the steps 2, 4, 5 and 6 are too large for float32."""

        def batch(self, first_index: int, batch_size: int) -> Episode:
            episode = super().batch(first_index, batch_size)
            lost = first_index // batch_size + 1 in (2, 4, 5, 6)
            return replace(episode, test_x=episode.test_x * 1e38) if lost else episode

    config = TrainConfig(steps=8, batch_size=2, non_finite="skip", skips_in_a_row=2)
    seen: list[StepRecord] = []
    place = (
        "the gradient is not finite at step 6, episodes 10 to 11, and 2 updates before it were skipped in a"
    )
    with pytest.raises(NonFiniteError, match=place):
        meta_train(gaussian_learner(), Lost(0), config, progress=False, on_step=seen.append)
    assert [record.step for record in seen if record.skipped] == [2, 4, 5]
    more = replace(config, skips_in_a_row=3)
    history = meta_train(gaussian_learner(), Lost(0), more, progress=False)
    assert [record.step for record in history.steps if record.skipped] == [2, 4, 5, 6]


def test_without_skips_skip_trains_as_stop_does():
    learners = [gaussian_learner(), gaussian_learner()]
    for learner, non_finite in zip(learners, ("stop", "skip"), strict=True):
        config = TrainConfig(steps=5, batch_size=4, warmup_steps=0, non_finite=non_finite)
        meta_train(learner, GaussianEpisodes(0), config, progress=False)
    one, other = (tensors(learner) for learner in learners)
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-3, atol=1e-4, msg=name)


def test_vector_targets_have_no_accuracy():
    class Angles:
        def batch(self, first_index: int, batch_size: int) -> Episode:
            return small_episode(batch_size, target=AngleTarget(), seed=first_index)

    learner = small_learner(target=AngleTarget(), selectivity=None)
    config = TrainConfig(steps=3, batch_size=2, validate_every=2, validation_episodes=4)
    history = meta_train(learner, Angles(), config, validation=Angles(), progress=False)
    assert all(record.accuracy is None for record in history.steps)
    assert history.validations[-1].score == evaluate(learner, Angles(), 4).loss.mean
    assert history.best(learner.is_classifier) == min(history.validations, key=lambda record: record.score)


def test_a_progress_bar_on_request(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    source, config = GaussianEpisodes(seed=0), TrainConfig(steps=4, batch_size=2, validate_every=2)
    meta_train(gaussian_learner(), source, config, progress=False)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    meta_train(gaussian_learner(), source, config, validation=GaussianEpisodes(1))
    shown = capsys.readouterr()
    assert shown.out == ""
    for word in ("4/4", "loss", "accuracy", "regulariser", "validation", "episodes/s"):
        assert word in shown.err


def test_a_log_gets_a_line_for_each_meta_validation_and_no_bar(capsys: pytest.CaptureFixture[str]):
    source, config = GaussianEpisodes(seed=0), TrainConfig(steps=4, batch_size=2, validate_every=2)
    history = meta_train(gaussian_learner(), source, config, validation=GaussianEpisodes(1))
    shown = capsys.readouterr()
    assert shown.out == ""
    for line, one in zip(shown.err.splitlines(), history.validations, strict=True):
        told = f"step {one.step} of 4: meta-validation {one.score:.3f} ± {one.interval:.3f}"
        assert line == f"{told}, after {one.seconds:.0f} s"


def test_settings_are_those_of_the_table():
    config = TrainConfig(steps=3, betas=(0.5, 0.6))
    assert TrainConfig(**asdict(config)) == config
