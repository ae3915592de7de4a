"""Runs beside one another: groups, steps to an accuracy, the figure, and what cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mambacl import compare
from mambacl.errors import DataError


def write_run(folder: Path, seed: int, weight: float, accuracies: list[float]) -> Path:
    folder.mkdir()
    steps = [
        {"step": i + 1, "objective": 1.0, "penalty": None, "accuracy": accuracy, "seconds": float(i)}
        for i, accuracy in enumerate(accuracies)
    ]
    results = {
        "settings": {"seed": seed, "weight": weight, "lr": 1e-3, "out": str(folder)},
        "scores": {"MambaCL": {"mean": accuracies[-1], "interval_95": 0.01}},
        "validations": [{"step": len(steps), "score": 0.5, "seconds": 1.0}],
        "steps": steps,
    }
    (folder / "results.json").write_text(json.dumps(results))
    return folder


def rising(steps: int, reached: int) -> list[float]:
    """0.2 until a step, 0.9 from it on."""
    return [0.9 if step >= reached else 0.2 for step in range(1, steps + 1)]


def test_seeds_form_groups_and_medians_are_over_them(tmp_path: Path):
    runs = [write_run(tmp_path / f"on{s}", s, 0.5, rising(200, 60 + 10 * s)) for s in (1, 0, 2)]
    runs += [write_run(tmp_path / "off", 0, 0.0, rising(200, 150))]
    table = compare.run(compare.Compare(tuple(runs), plot=tmp_path / "curves.png"))
    assert "weight 0.5\n" in table
    assert "weight 0.0\n" in table
    assert "lr" not in table  # the same in both groups
    # A window of 50 averages over 0.2 and 0.9: 0.5 is reached with 22 of them high, 0.8 with 43.
    on = table.split("\n\n")[0].splitlines()
    assert [line.split()[0] for line in on[2:5]] == ["0", "1", "2"]
    assert on[2].split()[-2:] == ["81", "102"]
    assert on[5].split()[-2:] == ["91", "112"]
    assert (tmp_path / "curves.png").stat().st_size > 10_000


def test_an_accuracy_never_reached_is_a_dash(tmp_path: Path):
    run = write_run(tmp_path / "run", 0, 0.5, [0.6] * 80)
    assert compare.run(compare.Compare((run,))).splitlines()[2].split()[-2:] == ["50", "-"]


def test_what_is_no_run(tmp_path: Path):
    with pytest.raises(DataError, match="at least one folder, got none"):
        compare.run(compare.Compare(()))
    with pytest.raises(DataError, match=r"results\.json` must hold the results of a run"):
        compare.run(compare.Compare((tmp_path,)))
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(DataError, match="must hold the results of a run, got KeyError"):
        compare.run(compare.Compare((tmp_path,)))
