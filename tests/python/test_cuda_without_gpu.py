"""What of CUDA can be tested where there is no GPU."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from mambacl import Learner, LearnerConfig, _core
from mambacl.config import LEARNERS
from mambacl.devices import chosen, sent
from mambacl.errors import ConfigError, DeviceError, KernelError
from mambacl.training import CapturedStep
from small_learners import small_episode, small_learner
from test_every_learner import CONFIGS, drawn

ROOT = Path(__file__).resolve().parents[2]

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: its absence cannot be tested")
for_cuda = pytest.mark.skipif(torch.version.cuda is None, reason="this torch is built for CPUs only")

# Draws of a Performer are made of numbers, which a fake tensor has none of; those of a learner written in
# Python come from torch's generator of the device.
FAKED = {
    name: config
    for name, config in CONFIGS.items()
    if not name.startswith("performer") and config.kind in LEARNERS
}


@for_cuda
@pytest.mark.filterwarnings("ignore:Accessing the data pointer")
@pytest.mark.parametrize("config", FAKED.values(), ids=FAKED)
def test_no_number_is_read_back_in_a_step(config: LearnerConfig):
    """A fake tensor of CUDA refuses whatever would wait for a number, or a shape that depends on one."""
    learner = Learner(config)
    episode = drawn(learner, 0)
    with FakeTensorMode():

        def fake(tensor: Tensor) -> Tensor:
            return torch.empty(tensor.shape, dtype=tensor.dtype, device="cuda:0")

        for module in learner.modules():
            for name, parameter in list(module._parameters.items()):
                module._parameters[name] = nn.Parameter(fake(parameter))
            for name, buffer in list(module._buffers.items()):
                module._buffers[name] = fake(buffer)
        moved = dataclasses.replace(episode, **{name: fake(tensor) for name, tensor in episode._tensors()})
        output = learner.train()(moved, 3)
        assert output.loss.device == torch.device("cuda:0")
        with torch.no_grad():
            classes = {"codebook": moved.codebook} if learner.is_classifier else {}
            state = learner.eval().init_state(3, **classes)
            state = learner.observe(state, moved.train_x, moved.train_y)
            assert learner.predict(state, moved.test_x).device == torch.device("cuda:0")


@for_cuda
def test_the_compiler_is_found():
    major, minor = _core.nvrtc_version()
    assert f"{major}.{minor}" == torch.version.cuda
    with pytest.raises(KernelError, match="sm_1"):
        _core.compile_cuda_kernels("sm_1")


@no_gpu
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7"])
def test_a_gpu_that_is_not_there_is_refused(name: str):
    with pytest.raises(
        ConfigError, match=r"train: `--device` must be cpu, got 'cuda.*(sees no GPU|CPUs only)"
    ):
        chosen(name, "train")


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "cudax"])
def test_what_is_no_device_is_refused(name: str):
    with pytest.raises(ConfigError, match="must be cpu, cuda or cuda:N"):
        chosen(name, "evaluate")


@no_gpu
@pytest.mark.parametrize("command", [["train", "glyphs-mamba"], ["sweep", "features-5x5"]], ids=str)
def test_commands_refuse_before_a_folder_is_made(command: list[str], tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "mambacl", *command, "--device", "cuda"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "`--device` must be cpu" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_what_is_sent_to_the_cpu_is_the_same():
    tensor = torch.randn(3)
    assert sent(tensor, "cpu") is tensor
    assert sent(tensor, "meta").is_meta
    assert small_episode().to("meta", non_blocking=True).train_x.is_meta


def test_a_step_of_the_cpu_is_not_captured():
    learner = small_learner()
    adam = torch.optim.AdamW(learner.parameters())
    with pytest.raises(DeviceError, match="CapturedStep: argument `learner` must be on a GPU, got cpu"):
        CapturedStep(learner, adam, small_episode())


@pytest.mark.skipif(not (ROOT / "scripts").exists(), reason="scripts are not installed")
def test_the_benchmarks_run_in_small(tmp_path: Path):
    command = [
        sys.executable,
        str(ROOT / "scripts" / "gpu_check.py"),
        "--device",
        "cpu",
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = json.loads((tmp_path / "measured.json").read_text())["rows"]
    assert {row["table"] for row in rows} == {"bandwidth", "inference", "training step"}
    assert all(row["value"] > 0 for row in rows)
    assert "### bandwidth" in done.stdout
    assert "a dry run: no result" in done.stdout
    assert "pip install --no-build-isolation causal-conv1d mamba-ssm" in done.stdout
