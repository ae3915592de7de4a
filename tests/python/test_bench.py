"""Benchmarks: what they time is what they say; the times themselves are nobody's to assert."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mambacl import Learner, SequenceConfig, VectorEncoder, ops
from mambacl.bench import blocks, gpu, memory, soak, streams, suite
from mambacl.bench.blocks import BLOCK, MAMBAPY, PROJECTIONS, TRANSFORMER, Shape
from mambacl.bench.scan_arguments import scan_arguments
from mambacl.bench.timing import Times, interleaved
from mambacl.errors import InvalidValueError
from mambacl.nn import Mamba
from shell import Shell

SMALL = Shape(length=6, batch=2, d_model=16, d_state=4)


def test_a_ratio_is_the_median_of_the_ratios_of_turns():
    times = Times({"one": [2.0, 40.0, 6.0], "other": [1.0, 10.0, 2.0]})
    assert times.median("one") == 6.0
    assert times.ratio("one", "other") == 3.0


def test_cases_take_turns_after_a_warm_up():
    order: list[str] = []
    times = interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, repeats=2)
    assert order == ["a", "b", "a", "b", "a", "b"]
    assert [len(seconds) for seconds in times.seconds.values()] == [2, 2]


def test_a_case_beyond_its_budget_has_one_turn():
    times = interleaved({"a": lambda: None}, repeats=5, budget=0.0)
    assert len(times.seconds["a"]) == 1


def test_projections_are_those_of_the_block():
    block, projections = Mamba(16, d_state=4), blocks.Projections(SMALL)
    names = {"in_proj.weight", "x_proj.weight", "dt_proj.weight", "out_proj.weight"}
    shapes = {name: tuple(tensor.shape) for name, tensor in projections.named_parameters()}
    assert set(shapes) == names
    assert shapes == {name: tuple(block.get_parameter(name).shape) for name in names}


def test_the_transformer_is_causal():
    layer = blocks.CausalTransformer(SMALL)
    x = torch.randn(2, 6, 16)
    changed = x.clone()
    changed[:, 4] += 1
    before, after = layer(x), layer(changed)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


def test_the_usual_loop_computes_the_scan():
    arguments = scan_arguments(2, 6, 8, 4, torch.device("cpu"))
    want = ops.selective_scan(**arguments, delta_softplus=True)
    torch.testing.assert_close(blocks._loop(**arguments, delta_softplus=True), want)


def test_all_that_is_timed_runs():
    times = blocks.blocks(SMALL, peers=False, repeats=1)
    assert set(times.seconds) == {BLOCK, PROJECTIONS, TRANSFORMER}
    assert set(blocks.scans(SMALL, 1).seconds) == {"fused", "loop", "reference"}
    assert set(blocks.precisions(SMALL, 1).seconds) == {"float32", "bfloat16"}
    assert set(streams.episode_step(1, tasks=2, shots=2).seconds) == {"shared", "replicated"}


def test_what_is_measured_of_a_gpu_runs_on_the_cpu_in_small():
    readings, notes = gpu.measure(torch.device("cpu"), gpu.TINY)
    of = [one.table for one in readings]
    assert (of.count("bandwidth"), of.count("inference"), of.count("training step")) == (3, 32, 6)
    assert all(one.value > 0 for one in readings)
    assert "no training step was captured as a CUDA graph" in notes[-1]
    tables = gpu.tables(readings)
    assert tables.count("| what | measured | aim |") == len(set(of))
    assert tables.endswith(" ms |  |\n")


def test_peers_run():
    pytest.importorskip("mambapy", reason="mamba.py is in the extra `bench`")
    assert MAMBAPY in blocks.blocks(SMALL, peers=True, repeats=1).seconds


def test_a_stream_is_observed_one_by_one():
    told = streams.stream(streams.SHORTEST)
    assert told.examples == streams.SHORTEST
    assert told.state_bytes[0] == told.state_bytes[1]
    assert [at for at, _ in told.late] == [streams.SHORTEST]


def test_times_are_told_at_the_marks_and_at_the_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(streams, "MARKS", (600, 1600))
    monkeypatch.setattr(streams, "WARM_UP", 400)
    seen: list[str] = []
    monkeypatch.setattr(streams, "process_bytes", lambda field: seen.append(field) or 1000 * len(seen))
    told = streams.stream(streams.SHORTEST + 100)  # whole windows of it
    assert told.examples == streams.SHORTEST
    assert [at for at, _ in told.late] == [600, 1600, streams.SHORTEST]
    assert told.growth == 1000  # from the end of the warm-up


@pytest.mark.parametrize("adapt", [False, True])
def test_a_soaked_classifier_grows_no_more(adapt: bool):
    told = soak.soak(soak.SHORTEST, adapt=adapt)
    assert told.examples == soak.SHORTEST
    assert told.growth <= 1_000_000
    assert told.state_bytes[0] == told.state_bytes[1]
    assert told.not_finite == 0


def test_a_soak_too_short_to_measure_is_refused(shell: Shell):
    said = shell.fails("bench", "--soak", "--examples", "19999")
    assert "`examples` must be at least 20000 for `--soak`, got 19999" in said


def test_growth_and_what_is_not_finite_are_told(monkeypatch: pytest.MonkeyPatch):
    """With a classifier that counts, keeps a megabyte of memory for each window, and answers NaN at last."""
    monkeypatch.setattr(soak, "ContinualClassifier", KeepingClassifier)
    monkeypatch.setattr(soak, "process_bytes", lambda _field: KeepingClassifier.held)
    monkeypatch.setattr(soak, "WINDOW", 10)
    monkeypatch.setattr(soak, "WARM_UP", 20)
    told = soak.soak(soak.SHORTEST, adapt=False)
    windows = soak.SHORTEST // 10
    assert told.growth == 1_000_000 * (windows - 2)  # from the end of the warm-up
    assert told.state_bytes == (10, soak.SHORTEST)
    assert told.not_finite == 1


class KeepingClassifier:
    held = 0

    def __init__(self, _learner: object) -> None:
        self.n_samples_seen_ = 0

    def reset(self) -> None:
        self.n_samples_seen_ = 0

    @property
    def state_nbytes_(self) -> int:
        return self.n_samples_seen_

    def partial_fit(self, x: Any, y: Any) -> None:
        assert x.shape == (1, soak.DIM)
        assert y.shape == (1,)
        self.n_samples_seen_ += 1

    def predict(self, x: Any) -> None:
        assert x.shape == (1, soak.DIM)

    def predict_proba(self, x: Any) -> Any:
        KeepingClassifier.held += 1_000_000
        assert x.shape == (soak.FEW, soak.DIM)
        return np.array([[np.nan if self.n_samples_seen_ == soak.SHORTEST else 1.0]])


def test_threads_that_differ_are_counted(monkeypatch: pytest.MonkeyPatch):
    assert soak.differing_threads(threads=4, examples=3) == 0
    learners = iter([small_vector_learner(seed) for seed in range(8)])
    classifier = soak.ContinualClassifier
    monkeypatch.setattr(
        soak, "ContinualClassifier", lambda _learner, **options: classifier(next(learners), **options)
    )
    assert soak.differing_threads(threads=4, examples=3) == 4


def small_vector_learner(seed: int) -> Learner:
    return Learner(SequenceConfig(VectorEncoder(soak.DIM), d_model=8, n_layer=1), seed=seed).eval()


def test_memory_counts_what_autograd_keeps():
    told = memory.block_memory(Shape(length=32, batch=2, d_model=64))
    inner = 4 * 2 * 32 * 128
    assert 5 * inner <= sum(told.kept.values()) < 6 * inner


def test_the_command(shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("mambacl.bench.suite.Shape", lambda *_, **__: SMALL)
    figure = tmp_path / "times.png"
    sizes = ["--lengths", "8", "--repeats", "1", "--examples", "2000"]
    told = json.loads(shell("bench", *sizes, "--json", "--plot", figure))
    assert "block / its projections, length 6" in [row["name"] for row in told["rows"]]
    assert figure.stat().st_size > 5_000


def test_the_stream_alone(shell: Shell):
    _, *rows = shell("bench", "--stream-only", "--examples", "2000").splitlines()
    assert len(rows) == 5
    assert rows[-1].split("  ")[1] == "growth of memory over 2,000 examples"


def test_the_soak_alone(shell: Shell, monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple[int, bool]] = []

    def soaked(examples: int, *, adapt: bool) -> soak.Soak:
        asked.append((examples, adapt))
        return soak.Soak(examples, (2e-4, 1e-4), (3e-4, 1e-4), 2**19, (10, 10), 0)

    monkeypatch.setattr(soak, "soak", soaked)
    monkeypatch.setattr(soak, "differing_threads", lambda: 3)
    _, *rows = shell("bench", "--soak").splitlines()
    assert asked == [(100_000, False), (100_000, True)]
    told = {name: value.split() for name, _, value in (row.strip().rpartition("   ") for row in rows)}
    told = {name.strip(): value for name, value in told.items()}
    assert told["features adapted: partial_fit, slowest tenth of 100,000 / first thousand"] == ["1.50", "x"]
    assert told["features as they are: growth of memory"] == ["0.50", "MiB"]
    assert told["of 100 threads with one learner, differ from one"] == ["3.00"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--repeats", "0"], "bench: `--repeats` must be from 1 to 1,000,000, got 0"),
        (["--lengths", "8", "0"], "bench: `--lengths` must be from 1 to 1,000,000, got 0"),
        (["--examples", "1999"], "bench: argument `examples` must be at least 2000, got 1999"),
        (["--plot", "times.xyz"], "plot: `--plot` must end in one of "),
        (["--stream-only", "--plot", "times.png"], "bench: `--plot` draws times of blocks"),
        (["--soak", "--plot", "times.png"], "bench: `--plot` draws times of blocks, which `--soak`"),
        (["--soak", "--stream-only"], "bench: `--soak` and `--stream-only` leave each other out, got both"),
    ],
)
def test_options_that_make_no_sense_are_told_before_anything_is_measured(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, options: list[str], error: str
):
    monkeypatch.setattr(suite, "run", _never)
    monkeypatch.setattr(suite, "run_stream", _never)
    monkeypatch.setattr(suite, "run_soak", _never)
    (said,) = shell.fails("bench", *options).splitlines()
    assert said.startswith(f"mambacl: {error}")


def test_peers_that_are_not_installed_are_told_before_anything_is_measured(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(suite, "run", _never)
    monkeypatch.setattr(blocks, "PEER_PACKAGES", ("torch", "a_package_of_nobody"))
    assert shell.fails("bench", "--peers") == (
        "mambacl: bench: `--peers` needs a_package_of_nobody; pip install '.[bench]' in the checkout\n"
    )


def test_the_table_is_there_when_the_figure_cannot_be_written(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    report = suite.Report("a machine", [suite.Row("a ratio", 1.5)], {BLOCK: {8: 0.5}})
    monkeypatch.setattr(suite, "run", lambda *_: report)
    (tmp_path / "times.png").mkdir()
    ended, *printed = shell.fails("bench", "--plot", tmp_path / "times.png").splitlines()
    assert "times.png" in ended
    assert "a ratio" in "".join(printed)


def _never(*_: object) -> None:
    raise AssertionError("something was measured")


def test_a_stream_too_short_to_measure_is_refused():
    with pytest.raises(InvalidValueError, match="`examples` must be at least 2000, got 1999"):
        streams.stream(1999)
