"""Learners and states as files, and the same answers from Rust without Python."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from mambacl import (
    AttentionMixer,
    Learner,
    LearnerConfig,
    LearnerState,
    VectorTarget,
    load_learner,
    load_state,
    save_learner,
    save_state,
)
from mambacl.errors import CheckpointError, ConfigError, FileError, RunError, ShapeError
from mambacl.runs import Checkpoint, RunFolder, checkpoint
from mambacl.settings import read
from mambacl.training import TrainConfig
from small_learners import DIM, small_learner, targets

ROOT = Path(__file__).parents[2]
SERVER = ROOT / "target" / "release" / "examples" / "stream"


def observed(learner: Learner, streams: int = 1, examples: int = 5) -> LearnerState:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(streams, examples, DIM, generator=generator)
    y = targets(learner.config.target, streams, examples, generator)
    with torch.no_grad():
        return learner.observe(learner.init_state(streams), x, y)


def assert_same_state(one: LearnerState, other: LearnerState) -> None:
    assert torch.equal(one.examples_of_each(), other.examples_of_each())
    assert all(map(torch.equal, one.tensors(), other.tensors()))


def test_streams_at_different_paces_come_back(tmp_path: Path):
    learner = small_learner().eval()
    state = LearnerState.cat([observed(learner, 2), observed(learner, 1, 3), learner.init_state()])
    save_state(tmp_path / "state", state, learner)
    again = load_state(str(tmp_path / "state"), learner)
    assert again.examples == 0
    assert again.examples_of_each().tolist() == [5, 5, 3, 0]
    assert_same_state(again, state)


def test_the_header_says_what_a_file_is_of(tmp_path: Path):
    learner = small_learner().double().eval()
    save_learner(tmp_path / "model", learner)
    save_state(tmp_path / "state", observed(learner.float(), 3), learner)
    with safe_open(tmp_path / "state", "pt") as file:
        header = json.loads(file.metadata()["mambacl"])
        assert {"examples", "codebook", "seen", "layers.1.ssm_state"} <= set(file.keys())
    assert (header["format"], header["holds"]) == (1, "state")
    facts = {"learner": "sequence", "dtype": "float32", "streams": 3, "model": learner.fingerprint()}
    assert header["facts"] == facts
    with safe_open(tmp_path / "model", "pt") as file:
        header = json.loads(file.metadata()["mambacl"])
        assert set(file.keys()) == set(learner.state_dict())
    assert (header["holds"], header["facts"]["dtype"]) == ("learner", "float64")
    assert header["facts"]["config"]["d_model"] == 8


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_learners_of_other_dtypes_come_back(dtype: torch.dtype):
    learner = small_learner().to(dtype).eval()
    again = Learner.from_bytes(learner.to_bytes())
    assert {parameter.dtype for parameter in again.parameters()} == {dtype}
    assert again.fingerprint() == learner.fingerprint()


def test_a_state_of_another_learner_is_not_written(tmp_path: Path):
    with pytest.raises(ShapeError):
        save_state(tmp_path / "state", observed(small_learner(d_model=16)), small_learner())
    assert not os.listdir(tmp_path)


def test_a_state_is_of_one_model_alone(tmp_path: Path):
    learner = small_learner().eval()
    save_state(tmp_path / "state", observed(learner), learner)
    with torch.no_grad():
        learner.get_parameter("head.bias")[0] += 1e-6
    with pytest.raises(FileError, match=r"state` must be a state of this model, whose fingerprint is \w{64}"):
        load_state(tmp_path / "state", learner)


def test_what_is_no_such_file(tmp_path: Path):
    learner = small_learner()
    save_learner(tmp_path / "model", learner)
    with pytest.raises(FileError, match='model` must hold a state, got "learner"'):
        load_state(tmp_path / "model", learner)
    with pytest.raises(FileError, match=r"none` cannot be read: .*No such file"):
        load_learner(tmp_path / "none")
    with pytest.raises(FileError, match="cannot be read: it is no regular file"):
        load_learner(tmp_path)
    with pytest.raises(FileError, match=r"model` could not be written: .*there is no folder: '.*/none'$"):
        save_learner(tmp_path / "none" / "model", learner)
    (tmp_path / "taken").mkdir()
    with pytest.raises(FileError, match=r"taken` could not be written: .*Is a directory: '[^.]*/taken'$"):
        save_learner(tmp_path / "taken", learner)


def test_a_full_disk_leaves_the_file_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    learner = small_learner().eval()
    save_learner(tmp_path / "model", learner)
    before = (tmp_path / "model").read_bytes()

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(FileError, match=r"could not be written: .*No space left"):
            save_learner(tmp_path / "model", small_learner(seed=1))
    assert (tmp_path / "model").read_bytes() == before
    assert os.listdir(tmp_path) == ["model"]


LEARNER = small_learner().eval()
GOOD_LEARNER = LEARNER.to_bytes()
GOOD_STATE = LEARNER.state_to_bytes(observed(LEARNER, 2))
edits = st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 255)), min_size=1, max_size=4)


def spoilt(data: bytes, changes: list[tuple[int, int]], cut: int | None) -> bytes:
    altered = bytearray(data)
    for place, value in changes:
        altered[place % len(data)] = value
    return bytes(altered if cut is None else altered[: cut % len(data)])


@given(edits, st.none() | st.integers(0, 10**6))
def test_spoilt_files_are_refused(changes: list[tuple[int, int]], cut: int | None):
    for good, load in ((GOOD_LEARNER, Learner.from_bytes), (GOOD_STATE, LEARNER.state_from_bytes)):
        data = spoilt(good, changes, cut)
        if data != good:
            with pytest.raises(FileError):
                load(data)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_file_are_refused(data: bytes):
    for load in (Learner.from_bytes, LEARNER.state_from_bytes):
        with pytest.raises(FileError):
            load(data)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["checkpoint.json", "model.safetensors"]), edits, st.none() | st.integers(0, 10**6))
def test_spoilt_checkpoints_are_refused_or_whole(
    tmp_path: Path, name: str, changes: list[tuple[int, int]], cut: int | None
):
    folder = tmp_path / "one"
    if not folder.exists():
        content = {"model": {"a.weight": torch.ones(2, 3)}}
        checkpoint.write(folder, Checkpoint(3, content, {"threads": 1}))
    good = (folder / name).read_bytes()
    (folder / name).write_bytes(spoilt(good, changes, cut))
    try:
        read_back = checkpoint.read(folder)
        # Of JSON, spaces or facts may have changed; of the tensors, nothing.
        assert torch.equal(read_back.parts["model"]["a.weight"], torch.ones(2, 3))
    except CheckpointError:
        pass
    finally:
        (folder / name).write_bytes(good)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=50)
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries({"format": json_values, "step": json_values, "facts": json_values,
                             "sha256": json_values, "settings": json_values})
    .map(lambda value: json.dumps(value).encode())
)  # fmt: skip
def test_any_json_of_a_run_is_refused_or_makes_sense(tmp_path: Path, data: bytes):
    for name in ("checkpoint.json", "run.json", "best.json"):
        (tmp_path / name).write_bytes(data)
    for reader in (
        lambda: checkpoint.read(tmp_path),
        lambda: RunFolder.open(tmp_path),
        lambda: RunFolder(tmp_path, {}).best(),
    ):
        with contextlib.suppress(CheckpointError, RunError):
            reader()


@given(st.dictionaries(st.sampled_from(["steps", "lr", "betas", "batch_size", "x", ""]), json_values))
def test_any_table_of_settings_is_refused_or_makes_sense(table: dict[str, Any]):
    with contextlib.suppress(ConfigError):
        assert isinstance(read(TrainConfig, table, "train"), TrainConfig)


@given(st.dictionaries(st.sampled_from(["d_model", "n_layer", "mixer", "encoder", "kind", ""]), json_values))
def test_any_table_of_a_model_is_refused_or_makes_sense(table: dict[str, Any]):
    with contextlib.suppress(ConfigError):
        assert isinstance(LearnerConfig.from_table(table), LearnerConfig)


# What follows asks the server that Rust alone makes: `cargo build --release --example stream`.

needs_server = pytest.mark.skipif(not SERVER.exists(), reason="the example `stream` was not built")


def serve(arguments: list[Path | str], lines: list[str]) -> list[dict[str, Any]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(SERVER), *map(str, arguments)],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def line(verb: str, **values: Any) -> str:
    return json.dumps({verb: values})


@needs_server
@pytest.mark.parametrize("changes", [{}, {"mixer": AttentionMixer()}, {"target": VectorTarget(3)}])
def test_rust_answers_as_python_does(tmp_path: Path, changes: dict[str, Any]):
    learner = small_learner(**changes).eval()
    model, state_file, saved = (tmp_path / name for name in ("model", "state", "saved"))
    state = observed(learner)
    save_learner(model, learner)
    save_state(state_file, state, learner)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(1, 8, DIM, generator=generator)
    y = targets(learner.config.target, 1, 4, generator)
    requests = [line("observe", x=x[0, i].tolist(), y=y[0, i].tolist()) for i in range(4)]
    requests += [line("predict", x=x[0, i].tolist()) for i in range(4, 8)]
    requests += [json.dumps({"save": str(saved)})]
    *told, said = serve([model, "--state", state_file], requests)
    with torch.no_grad():
        state = learner.observe(state, x[:, :4], y)
        output = learner.predict(state, x[:, 4:])
    assert told[:4] == [{"examples": count} for count in (6, 7, 8, 9)]
    assert said == {"saved": str(saved), "examples": 9}
    for query, answer in enumerate(told[4:]):
        if learner.is_classifier:
            want = state.log_probabilities(output)[0, query].exp()
            assert answer["answer"] == state.answers(output)[0, query]
            assert state.seen is not None
            assert list(map(int, answer["probabilities"])) == state.seen[0].nonzero().flatten().tolist()
            for label, probability in answer["probabilities"].items():
                assert probability == pytest.approx(want[int(label)].item(), abs=1e-5)
        else:
            torch.testing.assert_close(torch.tensor(answer["answer"]), output[0, query], atol=1e-5, rtol=0)
    again = load_state(saved, learner)
    assert again.examples == 9
    for one, other in zip(again.tensors(), state.tensors(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@needs_server
def test_the_server_tells_what_is_wrong_with_a_line_and_goes_on(tmp_path: Path):
    learner = small_learner().eval()
    save_learner(tmp_path / "model", learner)
    good, x = line("observe", x=[0.5] * DIM, y=2), [0.5] * DIM
    wrong = {
        "": "EOF while parsing",
        "x": "expected value",
        "[]": "expected value",
        '{"obsrve": {}}': "unknown variant `obsrve`, expected one of `observe`, `predict`, `save`, `reset`",
        line("observe", x=x): "missing field `y`",
        line("observe", x=x, y=1, z=1): "unknown field `z`",
        line("observe", x="x", y=1): "observe.x: invalid type: string",
        line("observe", x=x[1:], y=1): f"observe.x: must hold {DIM} numbers, got {DIM - 1}",
        line("observe", x=x, y=8): "`y` must be labels in [0, 8), the vocabulary",
        line("observe", x=x, y=0.5): "observe.y: must be a label, got 0.5",
        line("observe", x=[1e39, *x[1:]], y=1): "`x` must be finite numbers",
        line("predict", x=[*x, 1]): f"predict.x: must hold {DIM} numbers",
        '{"predict": {"x": [1e999]}}': "number out of range",
        '{"reset": false}': "reset: must be true",
        json.dumps({"save": str(tmp_path / "none" / "state")}): "could not be written",
        good + good: "trailing characters",
        "[" * 100_000: "expected value",
        '{"observe": {"x": [], "y": ' + "[" * 100_000: "recursion limit exceeded",
    }
    requests = [request for bad in wrong for request in (bad, good)]
    answers = serve([tmp_path / "model"], [*requests, '{"reset": true}', line("predict", x=x)])
    for number, message in enumerate(wrong.values()):
        assert message in answers[2 * number]["error"]
        assert answers[2 * number + 1] == {"examples": number + 1}
    assert answers[-2] == {"examples": 0}
    assert "a state that has observed examples" in answers[-1]["error"]


@needs_server
def test_the_server_refuses_files_that_do_not_fit(tmp_path: Path):
    learner = small_learner().eval()
    save_learner(tmp_path / "model", learner)
    save_state(tmp_path / "two", observed(learner, 2), learner)
    save_state(tmp_path / "other", observed(small_learner(seed=1)), small_learner(seed=1))
    for arguments, message in (
        (["model", "--state", "two"], "a state of 1 stream is served, got one of 2"),
        (["model", "--state", "other"], "must be a state of this model"),
        (["two"], "must hold a learner"),
        (["none"], "cannot be read"),
        ([], "usage: stream MODEL.safetensors"),
    ):
        done = subprocess.run([SERVER, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert message in done.stderr
