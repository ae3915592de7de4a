"""Every learner on a GPU: the losses, gradients and answers of the CPU, without waiting, and as a graph."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gaussian_episodes import GaussianEpisodes
from gpu_here import GPU, needs_gpu
from mambacl import Learner, LearnerConfig, TrainConfig, meta_train
from mambacl.evaluation import evaluate
from mambacl.runs import RunFolder
from mambacl.training import CapturedStep, Trainer
from test_every_learner import CONFIGS, drawn, every_learner, first_state

pytestmark = needs_gpu


def gradients(learner: Learner) -> dict[str, Tensor]:
    return {n: p.grad.detach().cpu() for n, p in learner.named_parameters() if p.grad is not None}


@every_learner
def test_a_step_is_that_of_the_cpu(config: LearnerConfig):
    here = Learner(config).double().train()
    there = copy.deepcopy(here).to(GPU)
    episode = drawn(here, 0)
    episode = type(episode)(**{n: t.double() if t.is_floating_point() else t for n, t in episode._tensors()})
    one, other = here(episode, 3), there(episode.to(GPU, non_blocking=True), 3)
    torch.testing.assert_close(other.loss.cpu(), one.loss, rtol=1e-9, atol=1e-11)
    one.loss.backward()
    other.loss.backward()
    want = gradients(here)
    for name, got in gradients(there).items():
        scale = want[name].abs().max().item()
        torch.testing.assert_close(got, want[name], rtol=0, atol=1e-8 * max(scale, 1e-6), msg=name)


@every_learner
def test_answers_are_those_of_the_cpu(config: LearnerConfig):
    here = Learner(config).eval()
    there = copy.deepcopy(here).to(GPU)
    episode = drawn(here, 0)
    asked = episode.to(GPU)
    with torch.no_grad():
        state = first_state(here, episode)
        moved = state.to(GPU)
        for i in range(episode.train_x.shape[1]):  # one by one: what a learner in use does
            one = slice(i, i + 1)
            state = here.observe(state, episode.train_x[:, one], episode.train_y[:, one])
            moved = there.observe(moved, asked.train_x[:, one], asked.train_y[:, one])
        want = here.predict(state, episode.test_x)
        torch.testing.assert_close(there.predict(moved, asked.test_x).cpu(), want, rtol=1e-3, atol=1e-3)
        at_once = there.observe(first_state(there, asked), asked.train_x, asked.train_y)
        torch.testing.assert_close(there.predict(at_once, asked.test_x).cpu(), want, rtol=1e-3, atol=1e-3)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@every_learner
def test_a_training_step_waits_for_nothing(config: LearnerConfig):
    learner = Learner(config).to(GPU).train()
    episode = drawn(learner, 0)

    def step() -> None:
        learner.zero_grad()
        learner(episode.to(GPU, non_blocking=True), 3).loss.backward()

    step()
    torch.cuda.synchronize()
    try:
        torch.cuda.set_sync_debug_mode("error")
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_meta_training_learns(precision: str):
    learner = Learner(CONFIGS["mamba"]).to(GPU)
    config = TrainConfig(steps=40, batch_size=8, lr=3e-3, warmup_steps=5, precision=precision)
    history = meta_train(learner, GaussianEpisodes(seed=0), config, progress=False)
    first, last = (sum(record.loss for record in part) for part in (history.steps[:5], history.steps[-5:]))
    assert last < 0.7 * first
    assert all(parameter.device == GPU for parameter in learner.parameters())
    assert evaluate(learner, GaussianEpisodes(seed=0), 8).score.mean > 0


def test_the_trainer_logs_what_the_cpu_logs():
    config = TrainConfig(steps=3, batch_size=4)
    histories = []
    for device in ("cpu", GPU):
        trainer = Trainer(Learner(CONFIGS["mamba"]).to(device), GaussianEpisodes(seed=0), config)
        for _ in range(3):
            trainer.step()
        trainer.settle()
        histories.append([record.loss for record in trainer.history.steps])
    assert histories[1] == pytest.approx(histories[0], rel=1e-3)


def test_a_run_goes_on_on_another_device(tmp_path: Path):
    config = TrainConfig(steps=4, batch_size=4, checkpoint_every=2)
    losses: dict[tuple[str, str], list[float]] = {}
    for first, second in (("cpu", "cpu"), ("cpu", "cuda"), ("cuda", "cpu")):
        run = RunFolder.create(tmp_path / f"{first}-{second}", {}, {})
        for device, stop_at in ((first, 2), (second, 4)):
            learner = Learner(CONFIGS["mamba"]).to(device)
            history = meta_train(
                learner, GaussianEpisodes(seed=0), config, run=run, stop_at=stop_at, progress=False
            )
        losses[first, second] = [record.loss for record in history.steps]
    for got in losses.values():
        assert got == pytest.approx(losses["cpu", "cpu"], rel=1e-3)


def test_states_go_from_device_to_device(tmp_path: Path):
    here = Learner(CONFIGS["mamba"]).eval()
    there = copy.deepcopy(here).to(GPU)
    episode = drawn(here, 0)
    asked = episode.to(GPU)
    with torch.no_grad():
        state = there.observe(first_state(there, asked), asked.train_x, asked.train_y)
        back = here.state_from_bytes(there.state_to_bytes(state))
        want = there.predict(state, asked.test_x).cpu()
        torch.testing.assert_close(here.predict(back, episode.test_x), want, rtol=1e-3, atol=1e-3)
    assert there.fingerprint() == here.fingerprint()


@pytest.mark.filterwarnings("ignore:This instance was constructed with capturable")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["mamba", "mamba2", "attention", "mamba, experts"])
def test_a_graph_makes_the_updates_of_eager_steps(name: str, precision: str):
    episodes = [GaussianEpisodes(seed=0).batch(4 * i, 4) for i in range(3)]
    eager, captured = (Learner(CONFIGS[name]).to(GPU).train() for _ in range(2))

    def adam(learner: Learner) -> torch.optim.Optimizer:
        return torch.optim.AdamW(learner.parameter_groups(0.01), lr=1e-3, capturable=True)

    optimiser = adam(eager)
    step = CapturedStep(captured, adam(captured), episodes[0], precision=precision)
    for (key, one), other in zip(eager.state_dict().items(), captured.state_dict().values(), strict=True):
        assert torch.equal(one, other), f"the capture changed {key}"
    tolerance = 1e-4 if precision == "float32" else 3e-2
    for episode in episodes:
        optimiser.zero_grad()
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bfloat16"):
            want = eager(episode.to(GPU)).loss
        want.backward()
        torch.nn.utils.clip_grad_norm_(eager.parameters(), 1.0)
        optimiser.step()
        torch.testing.assert_close(step(episode).clone(), want.detach(), rtol=tolerance, atol=tolerance)


def test_a_kernel_that_is_not_loaded_cannot_be_captured(tmp_path: Path):
    """In a process of its own, where no kernel has been loaded."""
    code = """if True:
        import torch
        from mambacl.ops import causal_conv1d
        x, weight = torch.ones(1, 4, 8, device="cuda"), torch.ones(8, 3, device="cuda")
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            causal_conv1d(x, weight)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode != 0
    assert "run one step with the same shapes and dtypes before the capture" in done.stderr


def test_tf32_is_what_torch_is_told():
    learner = Learner(CONFIGS["mamba"]).to(GPU).eval()
    before = torch.get_float32_matmul_precision()
    episode = drawn(learner, 0).to(GPU)
    with torch.no_grad():
        learner(episode)
    assert torch.get_float32_matmul_precision() == before


def test_the_command_trains_and_evaluates_on_it(tmp_path: Path):
    run = tmp_path / "run"
    base = [sys.executable, "-m", "mambacl"]
    small = ["--set", "train.steps=2", "--set", "train.batch_size=2", "--set", "train.validation_episodes=2"]
    train = [*base, "train", "glyphs-mamba", "--device", "cuda", "--run-dir", str(run), "--quiet", *small]
    told = subprocess.run(train, capture_output=True, text=True, check=True).stdout
    assert "on cuda:0" in told
    ask = [*base, "evaluate", str(run), "--device", "cuda", "--json", "--split", "validation"]
    sizes = ["--episodes", "2", "--matrix-episodes", "2"]
    measured = subprocess.run([*ask, *sizes], capture_output=True, text=True, check=True)
    assert len(json.loads(measured.stdout)["accuracy"]) == 2
