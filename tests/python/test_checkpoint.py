"""Checkpoints and the folders they lie in: whole, or not there."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from torch import Tensor

from gaussian_episodes import GaussianEpisodes, gaussian_learner
from mambacl import TrainConfig
from mambacl.errors import CheckpointError, RunError
from mambacl.runs import Checkpoint, RunFolder, checkpoint
from mambacl.training import History, Trainer
from small_learners import assert_same, tensors


def content(step: int = 3, value: float = 1.0) -> Checkpoint:
    parts = {"model": {"a.weight": torch.full((2, 3), value), "b": torch.tensor(7)}, "optimiser": {}}
    return Checkpoint(step, parts, {"threads": 1, "name": "x"})


def flat(saved: Checkpoint) -> dict[str, Tensor]:
    return {f"{part}/{name}": value for part, group in saved.parts.items() for name, value in group.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.int64, torch.bool])
def test_what_is_written_is_read(tmp_path: Path, dtype: torch.dtype):
    values = torch.arange(6).reshape(2, 3).to(dtype)
    special = torch.tensor([torch.nan, torch.inf, -0.0, 1e-45])
    parts = {"model": {"x": values, "turned": values.t(), "none": values[:0]}, "more": {"special": special}}
    checkpoint.write(tmp_path / "one", Checkpoint(3, parts, {"threads": 1, "deep": {"list": [1, None]}}))
    read = checkpoint.read(tmp_path / "one")
    assert (read.step, read.facts) == (3, {"threads": 1, "deep": {"list": [1, None]}})
    assert read.parts.keys() == parts.keys()
    for name, value in parts["model"].items():
        assert read.parts["model"][name].dtype == dtype
        assert torch.equal(read.parts["model"][name], value)
    got = read.parts["more"]["special"]
    assert torch.equal(got.view(torch.int32), special.view(torch.int32))  # bit for bit
    assert os.listdir(tmp_path) == ["one"]


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def shorten(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def rewrite(path: Path, **changes: Any) -> None:
    header = json.loads(path.read_bytes())
    path.write_text(json.dumps({**header, **changes}))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda folder: flip(folder / "model.safetensors", -1), "model.safetensors` is damaged: its sha256"),
        (lambda folder: flip(folder / "model.safetensors", 9), "model.safetensors` is damaged"),
        (lambda folder: shorten(folder / "model.safetensors", 40), "model.safetensors` is damaged"),
        (lambda folder: shorten(folder / "model.safetensors", 0), "model.safetensors` is damaged"),
        (lambda folder: (folder / "optimiser.safetensors").unlink(), "optimiser.safetensors` cannot be read"),
        (lambda folder: (folder / "checkpoint.json").unlink(), "checkpoint.json` cannot be read"),
        (lambda folder: shorten(folder / "checkpoint.json", 20), "checkpoint.json` cannot be read"),
        (lambda folder: (folder / "checkpoint.json").write_text("[]"), "checkpoint.json` cannot be read"),
        (lambda folder: (folder / "checkpoint.json").write_bytes(b"\xff"), "checkpoint.json` cannot be read"),
        (
            lambda folder: (folder / "checkpoint.json").write_text('{"format": 2}'),
            r"checkpoint.json` must have a format of at most 1, got 2: a newer mambacl wrote it",
        ),
        (lambda folder: rewrite(folder / "checkpoint.json", step="3"), "must hold step, facts and sha256"),
        (lambda folder: rewrite(folder / "checkpoint.json", sha256=None), "must hold step, facts and sha256"),
        (shutil.rmtree, "checkpoint.json` cannot be read"),
    ],
)
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, harm: Callable[[Path], Any], message: str):
    folder = tmp_path / "one"
    checkpoint.write(folder, content())
    harm(folder)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.read(folder)


def trainer(**changes: Any) -> Trainer:
    return Trainer(gaussian_learner(**changes), GaussianEpisodes(0), TrainConfig(batch_size=2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"d_model": 16}, r"with `.*` of shape \[.*\], got \["),
        ({"n_layer": 1}, r"with `.*` of shape None, got \["),
        ({"n_layer": 3}, r"with `.*` of shape \[.*\], got None"),
    ],
)
def test_tensors_of_another_model_are_refused(changes: dict[str, Any], message: str):
    begun, other = trainer(), trainer(**changes)
    begun.step()
    before = tensors(other.learner)
    with pytest.raises(CheckpointError, match="its tensors must be those of this learner, " + message):
        other.restore(1, begun.state(), History())
    assert_same(tensors(other.learner), before)


@pytest.mark.parametrize("parts", [{}, {"model": gaussian_learner().state_dict()}])
def test_a_checkpoint_that_lacks_a_part_is_refused(parts: dict[str, dict[str, Tensor]]):
    with pytest.raises(CheckpointError, match=r"those of this learner|moments of the optimiser, got none"):
        trainer().restore(1, parts, History())


def test_a_frozen_parameter_has_no_moments_and_goes_on():
    one = trainer()
    one.learner.get_parameter("head.bias").requires_grad_(False)
    one.step()
    other = trainer()
    other.restore(1, one.state(), History())
    assert_same(dict(other.state()["optimiser"]), dict(one.state()["optimiser"]))


class Killed(BaseException):
    """Ends a test's code as SIGKILL would: nothing catches it."""


def killed_at(line: int, work: Callable[[], object]) -> bool:
    """Does work that ends at the given line of `mambacl.runs` (or of a removal of it) that it comes to;
    whether it came to it."""
    left = line

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal left
        place = Path(frame.f_code.co_filename)
        if place.parent.name != "runs" and place.name != "shutil.py":
            return None
        if event == "line":
            left -= 1
            if left < 0:
                sys.settrace(None)
                raise Killed
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except (Killed, RunError):  # shutil's own clean-up may make an error of it
        assert left < 0
    finally:
        sys.settrace(before)
    return left < 0


def run_of(path: Path, steps: int = 0, best: int = 1, keep: int = 2) -> RunFolder:
    run = RunFolder.create(path, {"seed": 0})
    for step in range(1, steps + 1):
        run.save(content(step), keep, {"step": best, "score": 0.5})
    return run


def steps_of(run: RunFolder) -> list[int]:
    return [checkpoint.read(folder).step for folder in run.checkpoints()]


def left_over(run: RunFolder) -> list[str]:
    return [path.name for path in run.path.rglob("*.partial")]


# Files stay open where a kill ends all.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_kill_at_any_line_leaves_whole_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)  # a matter of seconds, not of kills
    run_of(tmp_path / "before", 3)
    seen: set[tuple[int, ...]] = set()
    for line in range(1000):
        shutil.copytree(tmp_path / "before", tmp_path / "run")
        run = RunFolder.open(tmp_path / "run")
        killed = killed_at(line, lambda run=run: run.save(content(4), 2, {"step": 4, "score": 0.6}))
        steps = steps_of(run)  # each is read whole
        seen.add(tuple(steps))
        assert steps[-2:] in ([2, 3], [3, 4])
        best = run.best()
        assert best in ({"step": 1, "score": 0.5}, {"step": 4, "score": 0.6})
        assert run.find("best").name == f"step-0000000{best['step']}"
        with run.locked():  # the process that goes on clears away what was left
            assert not left_over(run)
        assert run.save(content(4), 2, {"step": 4, "score": 0.6}) == run.find("best")
        assert steps_of(run) == [3, 4]
        shutil.rmtree(tmp_path / "run")
        if not killed:
            break
    else:
        pytest.fail("saving never came to its end")
    assert {(1, 2, 3), (1, 2, 3, 4), (3, 4)} <= seen


def fails(*_arguments: object, **_named: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("call", range(5))
def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int):
    """fsync is where a disk says that it is full: of two parts, the header, and two folders."""
    run = run_of(tmp_path / "run", 3)
    calls = 0
    fsync = os.fsync

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls > call:
            fails()
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(CheckpointError, match=r"step-00000004` could not be written: .*No space left"):
            run.save(content(4), 2, {"step": 1, "score": 0.5})
    assert not left_over(run)
    assert steps_of(run) in ([1, 2, 3], [1, 2, 3, 4])
    run.save(content(4), 2, {"step": 1, "score": 0.5})
    assert steps_of(run) == [1, 3, 4]


@pytest.mark.parametrize("broken", ["mkdir", "open", "rename"])
def test_an_unwritable_folder_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str):
    run = run_of(tmp_path / "run", 2)
    with monkeypatch.context() as patch:
        patch.setattr(Path, broken, fails)
        with pytest.raises(CheckpointError, match="could not be written"):
            run.save(content(3), 2, None)
    assert not left_over(run)
    assert steps_of(run) == [1, 2]


def test_best_json_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = run_of(tmp_path / "run", 3)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fails)
        with pytest.raises(RunError, match=r"could not be written: .*No space left"):
            run.save(content(4), 1, {"step": 4, "score": 0.6})
    assert not left_over(run)
    assert run.best() == {"step": 1, "score": 0.5}
    assert steps_of(run) == [1, 2, 3, 4]


@pytest.mark.parametrize("keep", [1, 2, 4])
def test_the_newest_and_the_best_stay(tmp_path: Path, keep: int):
    run = run_of(tmp_path / "run", 6, best=2, keep=keep)
    assert steps_of(run) == sorted({2, *range(7 - keep, 7)})
    assert checkpoint.read(run.find("best")).step == 2
    assert checkpoint.read(run.find("last")).step == 6
    assert checkpoint.read(run.find(6)).step == 6
    with pytest.raises(RunError, match=r"has checkpoints of steps \[.*2.*6\], got 1"):
        run.find(1)


def test_without_validations_the_best_is_the_last(tmp_path: Path):
    run = RunFolder.create(tmp_path / "run", {})
    with pytest.raises(RunError, match="has no checkpoint yet"):
        run.find("best")
    for step in (1, 2):
        run.save(content(step), 5, None)
    assert run.best() is None
    assert checkpoint.read(run.find("best")).step == 2


def test_a_damaged_best_json(tmp_path: Path):
    run = run_of(tmp_path / "run", 1)
    (run.path / "best.json").write_text("{}")
    with pytest.raises(RunError, match=r"best.json` cannot be read: KeyError"):
        run.find("best")


def test_other_names_among_checkpoints_are_left_alone(tmp_path: Path):
    run = run_of(tmp_path / "run", 2)
    (run.path / "checkpoints" / "step-2 copy").mkdir()
    run.save(content(3), 1, None)
    assert steps_of(run) == [3]
    assert (run.path / "checkpoints" / "step-2 copy").exists()


def test_a_folder_of_a_run_is_made_once(tmp_path: Path):
    run = RunFolder.create(tmp_path / "a" / "run", {"betas": (0.9, 0.99)}, {"torch": "2"})
    assert run.settings == RunFolder.open(run.path).settings == {"betas": [0.9, 0.99]}
    with pytest.raises(RunError, match="holds a run already; resume it"):
        RunFolder.create(run.path, {})
    assert RunFolder.resume(run.path, {"betas": (0.9, 0.99)}).settings == run.settings
    assert RunFolder.resume(tmp_path / "new", {}).path == tmp_path / "new"


def test_a_run_goes_on_with_its_settings(tmp_path: Path):
    RunFolder.create(tmp_path, {"seed": 0, "train": {"lr": 0.1}})
    with pytest.raises(RunError, match=r"has `train.lr` = 0.1, got 0.2; a run goes on as it began"):
        RunFolder.resume(tmp_path, {"seed": 0, "train": {"lr": 0.2}})
    with pytest.raises(RunError, match="has `more` = None, got 1"):
        RunFolder.resume(tmp_path, {"seed": 0, "train": {"lr": 0.1}, "more": 1})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "must be the folder of a run, got no run.json there"),
        ("{", "run.json` cannot be read"),
        ("[]", "run.json` cannot be read"),
        ('{"format": 2}', "must have a format of at most 1, got 2"),
        ('{"format": 1}', "must hold a table of settings, got None"),
    ],
)
def test_what_is_no_run(tmp_path: Path, text: str | None, message: str):
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunError, match=message):
        RunFolder.open(tmp_path)


def test_a_checkpoint_of_another_step_than_its_folder_says_is_refused(tmp_path: Path):
    folder = tmp_path / "step-00000060"
    checkpoint.write(folder, Checkpoint(50, {}, {}))
    with pytest.raises(CheckpointError, match="must be of the step that its folder names, got 50"):
        checkpoint.read(folder)
