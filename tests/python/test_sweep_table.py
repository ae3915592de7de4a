"""The tables of a sweep: from outcomes alone, with numbers worked out by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mambacl.errors import RunError
from mambacl.evaluation import over_seeds
from mambacl.experiments.trained import run_settings
from mambacl.sweeps import Cell, Outcome, Results, Sweep, read_sweep, table
from mambacl.sweeps.outcome import OnTest
from mambacl.sweeps.pace import Pace
from mambacl.sweeps.plan import outcomes
from mambacl.sweeps.standings import against_first, curves, cut_short, first_minutes, score_at, standings

FILE = """
purpose = "By hand."
seeds = [0, 1]

[data]
tasks = 5

[[learners]]
name = "first"

[[learners]]
name = "second"

[[learners]]
name = "third"
seeds = [0]
"""


def outcome(cell: Cell, right: tuple[int, ...] | None = None, **changes: Any) -> Outcome:
    fields: dict[str, Any] = {
        "learner": cell.learner,
        "seed": cell.seed,
        "values": dict(cell.values),
        "settings": json.loads(json.dumps(run_settings(cell.experiment, cell.seed))),
        "diverged": None,
        "steps": 2000,
        "seconds": 120.0,
        "step_seconds": 0.05,
        "threads": 1,
        "jobs": 2,
        "validations": ((1000, 0.5, 0.02, 60.0), (2000, 0.9, 0.02, 120.0)),
        "parameters": 12345,
        "state_bytes": {"20": 777, "100": 888},
        "inference": 66.0,
        "versions": {"mambacl": "0.1.0"},
        "test": None if right is None else on_test(right),
    }
    return Outcome(**{**fields, **changes})


def on_test(right: tuple[int, ...], sha256: str = "0") -> OnTest:
    return OnTest(
        step=2000,
        tasks=5,
        queries=10,
        episodes_sha256=sha256,
        right=right,
        vocabulary_accuracy=(0.5, 0.1),
        nll=(0.5, 0.1),
        calibration_error=0.1,
        forgetting=0.1,
        task_accuracy=(0.5,) * 5,
        yardsticks={"class mean": (0.25, 0.125)},
    )


@pytest.fixture
def made(tmp_path: Path) -> tuple[Sweep, dict[str, Cell], Results]:
    (tmp_path / "hand.toml").write_text(FILE)
    sweep = read_sweep(tmp_path / "hand.toml")
    return sweep, {cell.name: cell for cell in sweep.cells}, Results(tmp_path / "results")


def fill(cells: dict[str, Cell], results: Results, **changes: dict[str, Any]) -> None:
    """Complete outcomes of all cells."""
    right = {"first-seed0": (8, 10), "first-seed1": (7, 9), "second-seed0": (6, 8), "second-seed1": (6, 6)}
    for name, cell in cells.items():
        own = {"right": right.get(name, (4, 5)), **changes.get(name.replace("-", "_"), {})}
        results.write(cell, outcome(cell, **own))


def rows(markdown: str) -> dict[str, list[str]]:
    """Of the first table, by the name of the row."""
    first = next(part for part in markdown.split("\n\n") if part.startswith("| learner"))
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in first.splitlines()[2:]]
    return {row[0]: row[1:] for row in cells}


def test_rows_tell_all_of_a_learner(made: tuple[Sweep, dict[str, Cell], Results]):
    sweep, cells, results = made
    fill(cells, results, second_seed1={"seconds": 300.0})
    file = table.write(sweep, results)
    told = rows(file.read_text())
    assert told["first"] == [
        str(over_seeds([0.9, 0.8])),
        *("0.900, 0.800", "12,345", "777", "888", "320", "66", "2,000", "2.0", ""),
    ]
    assert told["second"][8] == "2.0 to 5.0"
    assert told["third"][0] == "0.450 ± 0.098 (over 2 episodes, 1 seed)"  # 1.96 standard errors of .4 and .5
    assert told["class mean"][0] == "0.250 ± 0.125 (over 2 episodes)"
    assert "Trained with 1 threads, 2 cells beside one another, mambacl 0.1.0." in file.read_text()
    in_json = json.loads(file.with_suffix(".json").read_text())
    assert in_json["learners"][0]["accuracy"]["mean"] == pytest.approx(0.85)
    assert in_json["first_minus"]["second"]["mean"] == pytest.approx(0.2)


def test_differences_are_over_seeds_or_episodes_or_none(made: tuple[Sweep, dict[str, Cell], Results]):
    sweep, cells, results = made
    fill(cells, results)
    told = {n: one.interval for n, one in against_first(standings(sweep, outcomes(sweep, results))).items()}
    assert told["second"] is not None
    assert (told["second"].mean, told["second"].scope) == (pytest.approx(0.2), "over 2 seeds, paired")
    assert told["third"] is not None  # seed 0 alone: .8 - .4 and 1 - .5
    assert (told["third"].mean, told["third"].scope) == (
        pytest.approx(0.45),
        "over 2 episodes, given these two predictors",
    )
    results.write(cells["third-seed0"], outcome(cells["third-seed0"], test=on_test((4, 5), sha256="1")))
    assert against_first(standings(sweep, outcomes(sweep, results)))["third"].interval is None
    assert "class mean, on the episodes of third" in rows(table.write(sweep, results).read_text())


def test_a_yardstick_shows_that_only_some_runs_have(made: tuple[Sweep, dict[str, Cell], Results]):
    """Outcomes of an older version lack it; all were asked the same episodes."""
    sweep, cells, results = made
    newer = replace(on_test((6, 8)), yardsticks={"class mean": (0.25, 0.125), "ridge": (0.75, 0.0625)})
    fill(cells, results, second_seed0={"test": newer})
    file = table.write(sweep, results)
    told = rows(file.read_text())
    assert told["class mean"][0] == "0.250 ± 0.125 (over 2 episodes)"
    assert told["ridge"][0] == "0.750 ± 0.062 (over 2 episodes)"
    assert json.loads(file.with_suffix(".json").read_text())["yardsticks"] == [
        {
            "episodes_of": "first",
            "episodes": 2,
            "scores": {"class mean": [0.25, 0.125], "ridge": [0.75, 0.0625]},
        }
    ]


def test_differences_say_which_seeds_diverged(made: tuple[Sweep, dict[str, Cell], Results]):
    sweep, cells, results = made
    lost = {"right": None, "diverged": "the loss is not finite"}
    fill(cells, results, second_seed1=lost, third_seed0=lost)
    file = table.write(sweep, results)
    told = lines(file.read_text(), "first minus the others")
    assert told["second"][0].endswith("given these two predictors); 1 of 2 seeds; 1 diverged")
    assert told["third"] == ["-; 0 of 1 seeds; 1 diverged"]
    in_json = json.loads(file.with_suffix(".json").read_text())["first_minus"]
    assert (in_json["second"]["seeds"], in_json["second"]["diverged"], in_json["third"]) == (1, 1, None)
    fill(cells, results, first_seed1=lost)
    told = lines(table.write(sweep, results).read_text(), "first minus the others")
    assert told["second"][0].endswith("; 1 of 2 seeds; 1 diverged")
    assert "diverged" not in told["third"][0]  # it has no seed 1 to lose


def lines(markdown: str, begin: str) -> dict[str, list[str]]:
    """Of the table after the paragraph that begins so, by the name of the row."""
    parts = markdown.split("\n\n")
    found = parts[next(number for number, part in enumerate(parts) if part.startswith(begin)) + 1]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in found.splitlines()[2:]]
    return {row[0]: row[1:] for row in cells}


def test_equal_minutes_are_those_of_the_first(made: tuple[Sweep, dict[str, Cell], Results]):
    """The third is quicker than the first, and is not what the others are cut to."""
    sweep, cells, results = made
    slow = ((1000, 0.3, 0.02, 50.0), (2000, 0.2, 0.02, 119.0), (4000, 0.95, 0.02, 400.0))
    fill(
        cells,
        results,
        second_seed0={"seconds": 400.0, "validations": slow},
        second_seed1={"seconds": 400.0, "validations": slow},
        third_seed0={"seconds": 40.0, "validations": ((1000, 0.4, 0.02, 20.0), (2000, 0.6, 0.02, 40.1))},
    )
    each = standings(sweep, outcomes(sweep, results))
    assert first_minutes(each, None) == 2.0
    at = [score_at(one, 2.0, None) for one in each]
    assert [one and one.mean for one in at] == [pytest.approx(score) for score in (0.9, 0.3, 0.6)]
    assert [cut_short(one, 2.0, None) for one in each] == [False, True, False]
    told = table.write(sweep, results).read_text()
    assert "At equal minutes, 2.00, those of first: accuracy on meta-validation" in told
    assert "is a lower bound of what these minutes can give" in told
    assert [line[1] for line in lines(told, "At equal minutes").values()] == [
        "all steps",
        "cut short",
        "all steps",
    ]


def test_seeds_that_diverged_take_no_part_at_equal_minutes(made: tuple[Sweep, dict[str, Cell], Results]):
    sweep, cells, results = made
    lost = {"right": None, "diverged": "the loss is not finite"}
    fill(
        cells,
        results,
        first_seed0={**lost, "seconds": 900.0},
        second_seed1={**lost, "steps": 30, "seconds": 2.0, "validations": ()},
        third_seed0={"seconds": 400.0, "validations": ((2000, 0.9, 0.02, 399.0),)},
    )
    assert first_minutes(standings(sweep, outcomes(sweep, results)), None) == 2.0
    told = lines(table.write(sweep, results).read_text(), "At equal minutes")
    assert told == {
        "first": ["0.900 (over 1 seed); 1 of 2 seeds diverged", "all steps"],
        "second": ["0.900 (over 1 seed); 1 of 2 seeds diverged", "all steps"],
        "third": ["no meta-validation by then", "cut short"],
    }


def test_minutes_are_by_the_pace_where_learners_were_timed(made: tuple[Sweep, dict[str, Cell], Results]):
    """The second took twice as long, but was timed to be twice as quick."""
    sweep, cells, results = made
    slow = ((1000, 0.3, 0.02, 120.0), (2000, 0.7, 0.02, 240.0))
    fill(
        cells,
        results,
        second_seed0={"seconds": 240.0, "validations": slow},
        second_seed1={"seconds": 240.0, "validations": slow},
    )
    pace = Pace(
        threads=1,
        turns=3,
        step={"first": 0.06, "second": 0.03},
        batch_size={"first": 16, "second": 8},
        episode={"first": 0.01, "second": 0.02},
        versions={},
    )
    pace.write(results.folder)
    assert Pace.read(results.folder) == pace
    first, second, third = each = standings(sweep, outcomes(sweep, results))
    assert first_minutes(each, pace) == pytest.approx(2.0)
    at = [score_at(one, 1.0, pace) for one in (first, second, third)]
    assert at[0] is not None
    assert at[1] is not None
    assert (at[0].mean, at[1].mean) == (pytest.approx(0.5), pytest.approx(0.7))
    text = table.write(sweep, results).read_text()
    told = rows(text)
    assert [told[name][5:9:3] for name in ("first", "second")] == [["267", "2.0"], ["267", "1.0"]]
    assert [told[name][6] for name in ("first", "second")] == ["100", "50"]
    assert told["third"][5:9] == ["320 (own)", "66 (own)", "2,000", "2.0 (own)"]
    assert "Where `own` is said, episodes a second and minutes are of the runs themselves" in text
    timed = ("first", "second", "third")
    replace(pace, **{field: dict.fromkeys(timed, 1) for field in ("step", "batch_size", "episode")}).write(
        results.folder
    )
    assert "own" not in table.write(sweep, results).read_text()
    (results.folder / "pace.json").write_text("{}")
    with pytest.raises(RunError, match=r"pace\.json` cannot be read"):
        table.write(sweep, results)


def test_curves_are_of_the_seeds_that_did_not_diverge(made: tuple[Sweep, dict[str, Cell], Results]):
    sweep, cells, results = made
    lost = {"right": None, "diverged": "the loss is not finite"}
    fill(cells, results, first_seed1=lost, third_seed0=lost)
    first, _, third = standings(sweep, outcomes(sweep, results))
    assert curves(first, None) == [[(1000, 1.0, 0.5), (2000, 2.0, 0.9)]]
    assert curves(third, None) == []
    pace = Pace(1, 3, {"first": 0.03}, {"first": 16}, {"first": 0.01}, {})
    assert curves(first, pace) == [[(1000, 0.5, 0.5), (2000, 1.0, 0.9)]]
    drawn = table.write(sweep, results).with_name("curves.png")
    assert drawn.read_bytes().startswith(b"\x89PNG")


def test_a_plateau_and_divergence_are_told_in_words(made: tuple[Sweep, dict[str, Cell], Results]):
    sweep, cells, results = made
    near = ((1000, 0.2, 0.0098, 60.0), (2000, 0.21, 0.0098, 120.0))  # 2 standard errors are .01
    beyond = ((2000, 0.2101, 0.0098, 120.0),)
    fill(
        cells,
        results,
        first_seed0={"validations": near},
        first_seed1={"validations": beyond},
        second_seed1={"right": None, "diverged": "the loss is not finite", "steps": 30},
        third_seed0={"validations": near},
    )
    told = rows(table.write(sweep, results).read_text())
    assert told["first"][:2] == [
        str(over_seeds([0.9, 0.8])),
        "0.900 (did not leave the plateau in 2,000 steps), 0.800",
    ]
    assert told["second"][0] == "0.700 ± 0.196 (over 2 episodes, 1 seed); 1 of 2 seeds diverged"
    assert told["second"][1] == "0.700, diverged after 30 steps"
    assert told["third"][0].startswith("did not leave the plateau in 2,000 steps: 0.450")


def test_a_table_of_nothing_yet(made: tuple[Sweep, dict[str, Cell], Results]):
    sweep, _, results = made
    file = table.write(sweep, results)
    assert rows(file.read_text())["first"][:2] == ["-", "seed 0 is left, seed 1 is left"]
    assert json.loads(file.with_suffix(".json").read_text())["first_minutes"] is None


@pytest.mark.parametrize(
    ("rates", "sizes", "told", "edges"),
    [
        ("2e-3, 4e-3, 1e-3", "8, 16, 32", "lr 0.004 (the largest tried), batch_size 16", {"lr": "largest"}),
        (
            "4e-3, 8e-3, 1e-3",
            "32, 16",
            "lr 0.004, batch_size 16 (the smallest tried)",
            {"batch_size": "smallest"},
        ),
        ("4e-3", "8, 16, 32", "lr 0.004, batch_size 16", {}),  # nothing else was tried
    ],
)
def test_values_at_the_edge_of_the_search_are_told(
    tmp_path: Path, rates: str, sizes: str, told: str, edges: dict[str, str]
):
    (tmp_path / "edge.toml").write_text(
        f'[[learners]]\nname = "a"\n[search]\n"train.lr" = [{rates}]\n"train.batch_size" = [{sizes}]\n'
        '"model.norm" = ["rms", "none"]\n'
    )
    sweep, results = read_sweep(tmp_path / "edge.toml"), Results(tmp_path / "results")
    best = {"train.lr": 4e-3, "train.batch_size": 16, "model.norm": "none"}
    for cell in sweep.row("a").searched:
        score = 0.9 if dict(cell.values) == best else 0.5
        results.write(cell, outcome(cell, (5, 6), validations=((2000, score, 0.02, 120.0),)))
    file = table.write(sweep, results)
    assert rows(file.read_text())["a"][-1] == f"{told}, norm none"
    in_json = json.loads(file.with_suffix(".json").read_text())["learners"][0]
    assert in_json["chosen_at_edge"] == {f"train.{name}": edge for name, edge in edges.items()}
