"""Searches by successive halving: which values are tried, stopped and chosen, and that runs go on exactly."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image

from mambacl.errors import ConfigError
from mambacl.experiments.trained import run_settings
from mambacl.experiments.training_run import TrainingRun
from mambacl.runs import RunFolder, checkpoint
from mambacl.sweeps import Cell, Outcome, Results, Sweep, read_sweep, table
from mambacl.sweeps.advance import advance
from mambacl.sweeps.pace import Pace
from mambacl.sweeps.plan import choice, due, goal, outcomes
from mambacl.sweeps.standings import standings
from mambacl.training.meta_train import read_history
from shell import Shell
from written_outcomes import written_test

BASE = """
experiment = "glyphs-mamba"
model = { d_model = 16, kind = "prototype" }

[train]
steps = STEPS
batch_size = 2
validate_every = 2
validation_episodes = 4

[data]
tasks = 2
train_shots = 1
evaluation_test_shots = 2

[test]
episodes = 4
matrix_episodes = 2

[[learners]]
name = "a"
seeds = [0, 1]

[search]
method = "halving"
"""
RATES = '"train.lr" = [1e-3, 2e-3, 4e-3]\n'

Score = Callable[[Cell, int], float | None]
"""The score of a cell on meta-validation at a step; None where training diverged before."""


def halving(folder: Path, search: str, steps: int = 4) -> Sweep:
    """A sweep of prototypes whose first rung ends at step 2."""
    file = folder / "tiny.toml"
    file.write_text(BASE.replace("STEPS", str(steps)) + search)
    return read_sweep(file)


def pretend(sweep: Sweep, results: Results, score: Score) -> list[tuple[str, int]]:
    """Works on all cells without training; each with the steps that it is trained to then."""
    worked: list[tuple[str, int]] = []
    while cells := due(sweep, known := outcomes(sweep, results)):
        cell = cells[0]
        steps = goal(sweep.row(cell.learner), cell, known)
        results.write(cell, pretended(sweep, cell, steps, score))
        worked.append((cell.name, steps))
    return worked


def pretended(sweep: Sweep, cell: Cell, steps: int, score: Score) -> Outcome:
    scores = {step: score(cell, step) for step in range(2, steps + 1, 2)}
    reached = [step for step, one in scores.items() if one is not None]
    whole = len(reached) == len(scores)
    return Outcome(
        learner=cell.learner,
        seed=cell.seed,
        values=dict(cell.values),
        settings=json.loads(json.dumps(run_settings(cell.experiment, cell.seed))),
        diverged=None if whole else "the loss is not finite",
        steps=steps if whole else 1 + max(reached, default=0),
        seconds=60.0 * steps,
        step_seconds=60.0,
        threads=1,
        jobs=1,
        validations=tuple((step, scores[step] or 0.0, 0.1, 60.0 * step) for step in reached),
        parameters=10,
        state_bytes={"20": 5, "100": 6},
        inference=7.0,
        versions={},
        test=written_test() if whole and steps == cell.experiment.train.steps else None,
    )


def by_rate(scores: dict[float, Sequence[float | None]]) -> Score:
    """Scores at steps 2 and 4 by the learning rate; 0.1 for others."""
    return lambda cell, step: scores.get(cell.experiment.train.lr, (0.1, 0.1))[step // 2 - 1]


def tried(sweep: Sweep, results: Results) -> list[float]:
    (one,) = standings(sweep, outcomes(sweep, results))
    return [dict(values)["train.lr"] for values in one.search]


def test_the_best_of_the_first_rung_go_on_and_the_best_at_the_end_is_chosen(tmp_path: Path):
    rates = "'train.lr' = [1e-3, 2e-3, 4e-3, 8e-3]"
    sweep, results = halving(tmp_path, f"first = 0.5\nkeep = 2\n{rates}"), Results(tmp_path / "results")
    score = by_rate({1e-3: (0.5, 0.95), 2e-3: (0.7, 0.75), 4e-3: (0.6, 0.9), 8e-3: (0.2, 0.99)})
    assert pretend(sweep, results, score) == [
        *((f"a-lr{rate}-seed0", 2) for rate in (0.001, 0.002, 0.004, 0.008)),
        *((f"a-lr{rate}-seed0", 4) for rate in (0.002, 0.004)),
        ("a-lr0.004-seed1", 4),
    ]
    known = outcomes(sweep, results)
    assert choice(sweep.rows[0], known) == (("train.lr", 0.004),)
    assert {name: one.steps for name, one in known.items() if one.seed == 0} == {
        "a-lr0.001-seed0": 2,
        "a-lr0.002-seed0": 4,
        "a-lr0.004-seed0": 4,
        "a-lr0.008-seed0": 2,
    }


def test_the_first_rung_is_judged_at_its_end(tmp_path: Path):
    """Not by a better score before."""
    sweep = halving(tmp_path, f"first = 0.5\nkeep = 1\n{RATES}", steps=8)
    results = Results(tmp_path / "results")
    scores = {1e-3: (0.9, 0.5, 0.5, 0.5), 2e-3: (0.6, 0.7, 0.7, 0.7)}
    assert pretend(sweep, results, by_rate({4e-3: (0.1,) * 4, **scores}))[-2:] == [
        ("a-lr0.002-seed0", 8),
        ("a-lr0.002-seed1", 8),
    ]


@pytest.mark.parametrize(
    ("extend", "best", "order"),
    [
        (2, 4e-3, [8e-3]),
        (2, 8e-3, [8e-3, 16e-3]),
        (2, 64e-3, [8e-3, 16e-3]),  # the limit
        (1, 64e-3, [8e-3]),
        (0, 4e-3, []),
        (2, 1e-3, [5e-4]),
        (2, 1e-6, [5e-4, 2.5e-4]),
        (2, 2e-3, []),  # inside
    ],
)
def test_a_grid_is_extended_where_the_best_is_at_its_edge(
    tmp_path: Path, extend: int, best: float, order: list[float]
):
    sweep = halving(tmp_path, f"first = 0.5\nkeep = 1\nextend = {extend}\n{RATES}")
    results = Results(tmp_path / "results")

    def near(cell: Cell, step: int) -> float:
        rate = cell.experiment.train.lr
        return min(rate / best, best / rate)

    pretend(sweep, results, near)
    assert tried(sweep, results) == [1e-3, 2e-3, 4e-3, *order]
    nearest = min(tried(sweep, results), key=lambda rate: max(rate / best, best / rate))
    assert choice(sweep.rows[0], outcomes(sweep, results)) == (("train.lr", nearest),)


def test_equal_scores_do_not_extend_the_grid(tmp_path: Path):
    sweep, results = halving(tmp_path, f"first = 0.5\nkeep = 1\n{RATES}"), Results(tmp_path / "results")
    pretend(sweep, results, by_rate({4e-3: (0.7, 0.7), 8e-3: (0.7, 0.7)}))
    assert tried(sweep, results) == [1e-3, 2e-3, 4e-3, 8e-3]  # as good is no better: 0.004 is inside now


def test_values_that_diverge_are_worst(tmp_path: Path):
    sweep, results = halving(tmp_path, f"first = 0.5\nkeep = 2\n{RATES}"), Results(tmp_path / "results")
    lost = {1e-3: (0.6, None), 2e-3: (0.5, 0.55), 4e-3: (None, None), 5e-4: (0.4, 0.4)}
    assert pretend(sweep, results, by_rate(lost)) == [
        *((f"a-lr{rate}-seed0", 2) for rate in (0.001, 0.002, 0.004, 0.0005)),
        ("a-lr0.001-seed0", 4),  # it diverges after the first rung
        *((f"a-lr0.002-seed{seed}", 4) for seed in (0, 1)),
    ]
    text = table.write(sweep, results).read_text()
    assert "| a | lr 0.001 | 0.600 | diverged |" in text
    assert "| a | lr 0.004 | diverged | diverged |" in text
    assert "| a | 4 | lr 0.002 | no | 13 |" not in text  # steps of all: 3, 4, 1 and 2
    assert "| a | 4 | lr 0.002 | no | 10 |" in text


def test_where_all_diverge_nothing_is_extended_or_goes_on(tmp_path: Path):
    sweep, results = halving(tmp_path, f"first = 0.5\nkeep = 1\n{RATES}"), Results(tmp_path / "results")
    worked = pretend(sweep, results, lambda cell, step: None)
    assert [name for name, _ in worked] == [
        *(f"a-lr{rate}-seed0" for rate in (0.001, 0.002, 0.004)),
        "a-lr0.001-seed1",
    ]
    assert "2 of 2 seeds diverged" in table.write(sweep, results).read_text()


def test_a_lower_error_is_better(tmp_path: Path):
    file = tmp_path / "waves.toml"
    file.write_text(
        'experiment = "sine-mamba"\n[train]\nsteps = 4\nvalidate_every = 2\n[[learners]]\nname = "a"\n'
        f'[search]\nmethod = "halving"\nfirst = 0.5\nkeep = 1\nextend = 1\n{RATES}'
    )
    sweep, results = read_sweep(file), Results(tmp_path / "results")
    score = by_rate({1e-3: (0.3, 0.3), 2e-3: (0.4, 0.4), 4e-3: (0.5, 0.5), 5e-4: (0.35, 0.35)})
    while cells := due(sweep, known := outcomes(sweep, results)):
        steps = goal(sweep.rows[0], cells[0], known)
        results.write(cells[0], pretended(sweep, cells[0], steps, score))
    assert tried(sweep, results) == [1e-3, 2e-3, 4e-3, 5e-4]
    assert choice(sweep.rows[0], outcomes(sweep, results)) == (("train.lr", 1e-3),)


def test_seeds_of_the_search_are_averaged(tmp_path: Path):
    sweep = halving(tmp_path, f"first = 0.5\nkeep = 1\nseeds = [0, 1]\n{RATES}")
    results = Results(tmp_path / "results")

    def score(cell: Cell, step: int) -> float:
        return {1e-3: (0.9, 0.1), 2e-3: (0.6, 0.7), 4e-3: (0.2, 0.8)}[cell.experiment.train.lr][cell.seed]

    assert len(pretend(sweep, results, score)) == 6 + 2
    assert choice(sweep.rows[0], outcomes(sweep, results)) == (("train.lr", 2e-3),)


def test_two_settings_are_extended_along_either(tmp_path: Path):
    search = "first = 0.5\nkeep = 1\nextend = 1\n'train.lr' = [1e-3, 2e-3]\n'train.batch_size' = [2, 4]\n"
    sweep, results = halving(tmp_path, search), Results(tmp_path / "results")

    def score(cell: Cell, step: int) -> float:
        return cell.experiment.train.lr * 100 + cell.experiment.train.batch_size / 100

    pretend(sweep, results, score)
    (one,) = standings(sweep, outcomes(sweep, results))
    assert [tuple(value for _, value in values) for values in one.search] == [
        *((1e-3, 2), (1e-3, 4), (2e-3, 2), (2e-3, 4)),
        *((4e-3, 4), (4e-3, 2)),  # beyond, then beside the best there; sizes, whole numbers, are not extended
    ]
    assert one.at_edge == {"train.lr": "largest", "train.batch_size": "largest"}


def test_values_that_a_setting_cannot_have_are_not_tried(tmp_path: Path):
    sweep = halving(tmp_path, "first = 0.5\nkeep = 1\n'train.decay' = [0.25, 0.5]\n")
    assert [dict(values)["train.decay"] for values in sweep.rows[0].beyond] == [0.125, 0.0625, 1.0]


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (
            f"first = 0.3\n{RATES}",
            r"learner 'a': search: `first` .* = 2 below train.steps = 4, got 0.3",
        ),
        (f"first = 0.1\n{RATES}", r"learner 'a': search: `first` must end .* got 0.1, which is step 0"),
        (f"first = 1.0\n{RATES}", r"search: `first` must be above 0 and below 1, got 1.0"),
        (f"first = '1'\n{RATES}", r"search: `search.first` must be a valid number.*, got '1'"),
        (f"keep = 0\n{RATES}", r"search: `keep` must be from 1 to 1,024, got 0"),
        (f"keep = 3\n{RATES}", r"search: `keep` must be below the number of values tried, 3, got 3"),
        ("", r"search: `keep` must be below the number of values tried, 1, got 2"),
        (f"extend = 9\n{RATES}", r"search: `extend` must be from 0 to 8, got 9"),
        (f"frist = 0.5\n{RATES}", r"search: must hold lists .* besides extend, first, keep, .*, got `frist`"),
    ],
)
def test_errors_of_the_search(tmp_path: Path, search: str, message: str):
    with pytest.raises(ConfigError, match=message):
        halving(tmp_path, search)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("method = 'random'\n", r"search: `search.method` must be 'grid' or 'halving', got 'random'"),
        ("keep = 1\n", r'search: `keep` must stand beside method = "halving", got method = "grid"'),
    ],
)
def test_errors_of_the_method(tmp_path: Path, search: str, message: str):
    file = tmp_path / "tiny.toml"
    file.write_text(BASE.replace("STEPS", "4").replace('method = "halving"\n', "") + search + RATES)
    with pytest.raises(ConfigError, match=message):
        read_sweep(file)


def test_a_full_grid_trains_what_a_search_by_halving_stopped(tmp_path: Path):
    search = f"first = 0.5\nkeep = 1\nextend = 0\n{RATES}"
    sweep, results = halving(tmp_path, search), Results(tmp_path / "results")
    pretend(sweep, results, by_rate({2e-3: (0.9, 0.9)}))
    full = tmp_path / "tiny.toml"
    full.write_text(BASE.replace("STEPS", "4").replace('method = "halving"\n', "") + RATES)
    sweep = read_sweep(full)
    known = outcomes(sweep, results)
    assert [cell.name for cell in due(sweep, known)] == ["a-lr0.001-seed0", "a-lr0.004-seed0"]
    assert {goal(sweep.rows[0], cell, known) for cell in sweep.cells} == {4}


def test_the_table_tells_what_was_tried_and_what_it_cost(tmp_path: Path):
    sweep, results = halving(tmp_path, f"first = 0.5\nkeep = 2\n{RATES}"), Results(tmp_path / "results")
    first = next(cell for cell in sweep.cells)
    results.write(first, pretended(sweep, first, 2, by_rate({})))
    unfinished = table.write(sweep, results).read_text()
    assert "| a | lr 0.001 | 0.100 | - |\n| a | lr 0.002 | - | - |" in unfinished
    assert "| a | 3 | - | - | 2 | 2.0 |" in unfinished
    assert "curves.png" not in unfinished
    pretend(sweep, results, by_rate({2e-3: (0.5, 0.9), 4e-3: (0.6, 0.7), 8e-3: (0.7, 0.95)}))
    file = table.write(sweep, results)
    text = file.read_text()
    assert "at the end of the first rung, 50% of the steps on the learning-rate schedule of all" in text
    assert (
        "| learner | values | first rung | all steps |\n| --- | --- | --- | --- |\n"
        "| a | lr 0.001 | 0.100 | stopped |\n"
        "| a | lr 0.002 | 0.500 | stopped |\n"
        "| a | lr 0.004 | 0.600 | 0.700 |\n"
        "| a | lr 0.008 (beyond the grid) | 0.700 | 0.950 |\n"
        "| a | lr 0.016 (beyond the grid) | 0.100 | stopped |\n"
    ) in text
    assert "| a | 5 | lr 0.008 | no | 14 | 14.0 |" in text  # three times 2 steps, twice 4, a minute each
    assert "![The accuracy on meta-validation against steps and minutes.](curves.png)" in text
    (told,) = json.loads(file.with_suffix(".json").read_text())["learners"]
    assert told["search"][3:] == [
        {"values": {"train.lr": 0.008}, "accuracy_at_first_rung": 0.7, "kept": True, "accuracy": 0.95},
        {"values": {"train.lr": 0.016}, "accuracy_at_first_rung": 0.1, "kept": False, "accuracy": None},
    ]
    assert (told["search_steps"], told["search_minutes"], told["chosen_at_edge"]) == (14, 14.0, {})


def test_the_best_at_the_end_may_lie_at_an_edge(tmp_path: Path):
    """The best of the first rung was inside."""
    sweep, results = halving(tmp_path, f"first = 0.5\nkeep = 2\n{RATES}"), Results(tmp_path / "results")
    pretend(sweep, results, by_rate({2e-3: (0.9, 0.9), 4e-3: (0.8, 0.95)}))
    text = table.write(sweep, results).read_text()
    assert "lr 0.004 (the largest tried)" in text
    assert "| a | 3 | lr 0.004 | largest | 10 |" in text


def test_learners_are_timed_with_a_value_beyond_the_grid(tmp_path: Path):
    sweep, results = halving(tmp_path, f"first = 0.5\nkeep = 1\n{RATES}"), Results(tmp_path / "results")
    pretend(sweep, results, by_rate({4e-3: (0.5, 0.5), 8e-3: (0.7, 0.7)}))
    known = outcomes(sweep, results)
    assert choice(sweep.rows[0], known) == (("train.lr", 8e-3),)
    assert Pace.measure(sweep, known, turns=1).step["a"] > 0


def work(sweep: Sweep, runs: Path, results: Results) -> None:
    """Trains and tests all that is due, one after another."""
    while cells := due(sweep, outcomes(sweep, results)):
        advance(sweep, cells[0], runs, results)


def weights(run: Path, step: int) -> dict[str, torch.Tensor]:
    content = checkpoint.read(run / "checkpoints" / f"step-{step:08d}")
    return {f"{part}.{name}": one for part, group in content.parts.items() for name, one in group.items()}


def measured(run: Path) -> list[tuple[int, float]]:
    """Losses and scores of a run, without times."""
    history = read_history(RunFolder.open(run))
    return [(one.step, one.loss) for one in history.steps] + [
        (one.step, one.score) for one in history.validations
    ]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sweep, Path, Results]:
    """A search that was never interrupted."""
    folder = tmp_path_factory.mktemp("searched")
    sweep, results = (
        halving(folder, f"first = 0.5\nkeep = 1\nextend = 1\n{RATES}"),
        Results(folder / "results"),
    )
    work(sweep, folder / "runs", results)
    return sweep, folder / "runs", results


def test_the_winner_is_a_run_that_never_stopped(searched: tuple[Sweep, Path, Results], tmp_path: Path):
    sweep, runs, results = searched
    (row,) = sweep.rows
    chosen = choice(row, outcomes(sweep, results))
    assert chosen is not None
    (winner,) = row.search(chosen)
    TrainingRun.begin(winner.experiment, 0, tmp_path / "whole", resume=False).train(progress=False)
    ours, whole = weights(runs / winner.name, 4), weights(tmp_path / "whole", 4)
    assert ours.keys() == whole.keys()
    assert all(torch.equal(ours[name], whole[name]) for name in whole)
    assert measured(runs / winner.name) == measured(tmp_path / "whole")
    for values in {values for values in row.all_values if values != chosen}:
        (loser,) = row.search(values)
        known = results.read(loser)
        assert known is None or (known.steps, known.test) == (2, None)
        assert known is None or RunFolder.open(runs / loser.name).done == 2


def comparable(sweep: Sweep, results: Results) -> dict[str, tuple[object, ...]]:
    """What outcomes tell, without times."""
    return {
        name: (one.steps, [v[:3] for v in one.validations], one.test)
        for name, one in outcomes(sweep, results).items()
    }


def test_a_search_that_was_interrupted_goes_on_to_the_same(
    searched: tuple[Sweep, Path, Results], tmp_path: Path
):
    sweep, whole_runs, whole = searched
    runs, results = tmp_path / "runs", Results(tmp_path / "results")
    (row,) = sweep.rows
    begun = row.searched[1]
    TrainingRun.begin(begun.experiment, 0, runs / begun.name, resume=False).train(1, progress=False)
    while all(one.steps < 4 for one in outcomes(sweep, results).values()) and (
        due(sweep, outcomes(sweep, results))[0].name not in outcomes(sweep, results)
    ):
        advance(sweep, due(sweep, outcomes(sweep, results))[0], runs, results)
    (winner,) = due(sweep, outcomes(sweep, results))  # between the rungs
    steps = len(read_history(RunFolder.open(runs / winner.name)).steps)
    TrainingRun.begin(winner.experiment, 0, runs / winner.name, resume=True).train(3, progress=False)
    work(sweep, runs, results)
    assert steps == 2
    assert comparable(sweep, results) == comparable(sweep, whole)
    assert measured(runs / winner.name) == measured(whole_runs / winner.name)


def test_a_winner_whose_run_is_gone_is_trained_again(searched: tuple[Sweep, Path, Results], tmp_path: Path):
    sweep, runs, whole = searched
    results = Results(tmp_path / "results")
    shutil.copytree(whole.folder / "cells", results.folder / "cells")
    (row,) = sweep.rows
    (winner,) = row.search(choice(row, outcomes(sweep, whole)) or ())
    known = results.read(winner)
    assert known is not None
    results.write(winner, pretended(sweep, winner, 2, lambda cell, step: known.validations[0][1]))
    assert [cell.name for cell in due(sweep, outcomes(sweep, results))] == [winner.name]
    advance(sweep, winner, tmp_path / "runs", results)
    assert measured(tmp_path / "runs" / winner.name) == measured(runs / winner.name)
    assert comparable(sweep, results) == comparable(sweep, whole)


def test_processes_beside_one_another_search(shell: Shell, tmp_path: Path):
    search = "first = 0.5\nkeep = 1\nextend = 0\n'train.lr' = [1e-3, 4e-3]"
    halving(tmp_path, search)
    file, results = tmp_path / "tiny.toml", Results(tmp_path / "results")
    file.write_text(file.read_text().replace("seeds = [0, 1]", "seeds = [0]"))
    sweep = read_sweep(file)
    places = ("--runs", tmp_path / "runs", "--results", results.folder, "--jobs", "2")
    said = shell("sweep", file, *places)
    assert "Cells: none was in" in said
    assert "2 were trained now" in said
    known = outcomes(sweep, results)
    chosen = choice(sweep.rows[0], known)
    told = {cell.values == chosen: known[cell.name] for cell in sweep.cells}
    assert (told[True].steps, told[False].steps, told[False].test) == (4, 2, None)
    assert told[True].test is not None
    with Image.open(results.folder / "curves.png") as picture:
        assert picture.width > picture.height > 300
