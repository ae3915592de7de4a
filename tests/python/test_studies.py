"""What all studies share: sweeps made small, answers kept, pages, and errors that users meet."""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from matplotlib import pyplot as plt

from mambacl import studies
from mambacl.errors import ConfigError, RunError
from mambacl.evaluation import evaluate
from mambacl.experiments.experiment import Experiment
from mambacl.experiments.trained import Trained
from mambacl.settings import Settings
from mambacl.studies import Places, Report, Scale, Study, Told, conduct, page
from mambacl.studies.answers import Answers
from mambacl.sweeps import read_sweep
from shell import Shell

TINY = """
purpose = "Seconds."
experiment = "glyphs-mamba"

[model]
d_model = 16

[train]
steps = 3
batch_size = 2
validate_every = 3
validation_episodes = 2

[data]
tasks = 2
train_shots = 1
evaluation_test_shots = 2

[test]
episodes = 4
matrix_episodes = 2

[[learners]]
name = "prototype"
model = { kind = "prototype" }
seeds = [3, 4]

[[learners]]
name = "gemcl"
model = { kind = "gemcl" }

[[learners]]
name = "left-alone"
model = { kind = "bayes" }
"""


@dataclass(frozen=True)
class Count(Settings):
    """How many questions there were before, and an accuracy."""

    number: int
    accuracy: float


class Tiny(Study[Count]):
    name = "tiny"
    question = "How many times was anybody asked?"
    reported = "Nothing."
    sweeps = ("tiny",)
    answer = Count

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.yardsticks = 0
        self.told: list[Told[Count]] = []

    def asks(self, sweep: str, learner: str) -> bool:
        assert sweep == "tiny"
        return learner != "left-alone"

    def ask(self, trained: Trained, scale: Scale) -> Count:
        self.asked.append(trained.run.path.name)
        accuracy = evaluate(trained.learner, trained.experiment.source("test"), scale.episodes).score.mean
        return Count(len(self.asked), accuracy)

    def ask_yardsticks(self, experiment: Experiment, scale: Scale) -> Mapping[str, Count]:
        self.yardsticks += 1
        return {"a guess": Count(self.yardsticks, 0.5)}

    def report(self, told: Sequence[Told[Count]]) -> Report:
        self.told = list(told)
        figure, ax = plt.subplots()
        ax.plot([one.answer.accuracy for one in told])
        return Report({"a-figure": figure}, {"Said of all:": "| a table |"})


class Later(Tiny):
    """The same, which would answer otherwise."""

    version = 2


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """Of studies whose sweep is the tiny one."""
    (tmp_path / "tiny.toml").write_text(TINY)
    module = importlib.import_module("mambacl.studies.conduct")  # whose name the package gives to a function
    monkeypatch.setattr(module, "sweep_file", lambda name: tmp_path / f"{name}.toml")
    return Places(tmp_path / "runs", tmp_path / "results")


def change(tmp_path: Path, old: str, new: str) -> None:
    file = tmp_path / "tiny.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


FAST = Scale.to_try()
RUNS = ["prototype-seed3", "gemcl-seed0"]
"""That are asked in the fast mode: of each learner one seed."""


def test_a_fast_sweep_has_no_search_no_further_seeds_and_few_steps(tmp_path: Path):
    (tmp_path / "tiny.toml").write_text(TINY + '[search]\n"train.lr" = [1e-3, 2e-3]\n')
    whole = read_sweep(tmp_path / "tiny.toml")
    assert Scale(50).sweep(whole) == whole
    small = FAST.sweep(whole)
    assert [cell.name for row in small.rows for cell in row.final(())] == [
        "prototype-seed3",
        "gemcl-seed0",
        "left-alone-seed0",
    ]
    assert all(cell.experiment.train.steps <= 4 for cell in small.cells)
    assert small.test.episodes == 4
    before, after = whole.rows[0].cells[0].experiment, small.rows[0].cells[0].experiment
    assert (after.model, after.data, after.name) == (before.model, before.data, before.name)
    assert after.train.lr == before.train.lr == 1e-3  # the first of the search


def test_a_fast_scale_takes_the_first_and_the_last():
    assert FAST.some([1, 2, 5, 10]) == (1, 10)
    assert FAST.some([3]) == (3,)
    assert Scale().some([1, 2, 5]) == (1, 2, 5)


def test_what_is_done_is_not_done_again(tmp_path: Path, places: Places):
    study = Tiny()
    counts: list[tuple[int, int]] = []
    written = conduct(study, FAST, places, on_asked=lambda there, asked: counts.append((there, asked)))
    assert written == places.results / "studies" / "tiny" / "README.md"
    assert (study.asked, study.yardsticks) == (RUNS, 1)
    assert sorted(file.name for file in (places.results / "tiny" / "cells").iterdir()) == [
        *("gemcl-seed0.json", "prototype-seed3.json")  # the row that is not asked was not trained
    ]
    told = [(one.sweep, one.learner, one.seed, one.answer.number) for one in study.told]
    assert told == [
        ("tiny", "prototype", 3, 1),
        ("tiny", "gemcl", 0, 2),
        ("tiny", "a guess", None, 1),
    ]
    assert all((one.outcome is None) == (one.seed is None) for one in study.told)
    first = study.told
    before = {file: file.stat().st_mtime_ns for file in places.runs.rglob("*") if file.is_file()}
    conduct(study, FAST, places, on_asked=lambda there, asked: counts.append((there, asked)))
    assert (study.asked, study.yardsticks, study.told) == (RUNS, 1, first)
    assert counts == [(0, 3), (3, 0)]  # there before, and asked
    assert before == {file: file.stat().st_mtime_ns for file in places.runs.rglob("*") if file.is_file()}


def test_all_are_asked_again_where_the_question_changed(places: Places):
    study, later = Tiny(), Later()
    conduct(study, FAST, places)
    conduct(study, dataclasses.replace(FAST, episodes=6), places)
    assert (study.asked, study.yardsticks) == (RUNS * 2, 2)
    conduct(later, dataclasses.replace(FAST, episodes=6), places)
    assert (later.asked, later.yardsticks) == (RUNS, 1)
    conduct(later, dataclasses.replace(FAST, episodes=6), places)
    assert (later.asked, later.yardsticks) == (RUNS, 1)


def test_one_learner_more_is_asked_alone(tmp_path: Path, places: Places):
    study = Tiny()
    conduct(study, FAST, places)
    change(tmp_path, 'name = "left-alone"', 'name = "bayes"')
    conduct(study, FAST, places)
    assert (study.asked, study.yardsticks) == ([*RUNS, "bayes-seed0"], 1)
    assert [one.learner for one in study.told] == ["prototype", "gemcl", "bayes", "a guess"]


def test_runs_that_outcomes_came_without_are_trained_anew(places: Places):
    study = Tiny()
    conduct(study, FAST, places)
    first = [one.answer.accuracy for one in study.told]
    for file in sorted(places.runs.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    conduct(study, FAST, places)
    assert study.asked == RUNS  # the answers are there
    assert not list(places.runs.rglob("run.json"))
    (places.study("tiny") / "answers" / "tiny-gemcl-seed0.json").unlink()
    conduct(study, FAST, places)
    assert study.asked == [*RUNS, "gemcl-seed0"]
    assert [one.answer.accuracy for one in study.told] == first  # the same run
    assert [file.parent.name for file in places.runs.rglob("run.json")] == ["gemcl-seed0"]


def test_learners_that_diverged_are_not_asked(places: Places):
    study = Tiny()
    conduct(study, FAST, places)
    file = places.results / "tiny" / "cells" / "gemcl-seed0.json"
    outcome = json.loads(file.read_text())
    file.write_text(json.dumps({**outcome, "diverged": "at step 2", "test": None}))
    page(study, FAST, places)
    assert [one.learner for one in study.told] == ["prototype", "a guess"]


def test_a_page_has_its_parts(places: Places):
    study = Tiny()
    folder = places.study("tiny")
    folder.mkdir(parents=True)
    (folder / "findings.md").write_text("It was found that **nothing** is known.\n")
    text = conduct(study, FAST, places).read_text()
    parts = [
        "# Tiny",
        study.question,
        "mambacl study tiny --fast",
        "these numbers say nothing of learners",
        "It was found that **nothing** is known.",
        "**The paper**: Nothing.",
        "![a figure](a-figure.png)",
        "Said of all:\n\n| a table |",
    ]
    places_of = [text.index(part) for part in parts]
    assert places_of == sorted(places_of)
    assert (folder / "a-figure.png").read_bytes().startswith(b"\x89PNG")
    assert not plt.get_fignums()
    before = list(study.asked)
    (folder / "findings.md").unlink()
    text = page(study, FAST, places).read_text()  # of the answers that there are
    assert "It was found" not in text
    assert study.asked == before


def test_processes_train_what_a_study_lacks_and_failures_are_told(places: Places):
    study, places = Tiny(), dataclasses.replace(places, jobs=2)
    blocked = places.runs / "tiny" / "gemcl-seed0"
    blocked.parent.mkdir(parents=True)
    blocked.write_text("a file where a folder should be")
    with pytest.raises(
        RunError, match=r"study: 1 runs of tiny failed; .*\n  gemcl-seed0: .*gemcl-seed0\.log"
    ):
        conduct(study, Scale(episodes=2), places)
    assert study.asked == []
    blocked.unlink()
    text = conduct(study, Scale(episodes=2), places).read_text()
    assert study.asked == ["prototype-seed3", "prototype-seed4", "gemcl-seed0"]
    assert (places.results / "tiny" / "table.md").exists()
    assert "mambacl study tiny --episodes 2\n" in text
    assert "nothing of learners" not in text


def test_there_is_no_page_without_answers(places: Places):
    with pytest.raises(RunError, match=r"there is no answer to 'tiny' yet in `.*answers`"):
        page(Tiny(), FAST, places)


def test_a_page_is_of_answers_of_one_scale(places: Places):
    study = Tiny()
    conduct(study, FAST, places)
    other = dataclasses.replace(FAST, episodes=6)
    with pytest.raises(
        RunError, match=r"must hold an answer of 6 episodes with --fast, .* got one of 4 epis"
    ):
        page(study, other, places)
    for file in (places.study("tiny") / "answers").glob("*.json"):  # as the first versions wrote them
        content = json.loads(file.read_text())
        assert content.pop("scale") == {"episodes": 4, "fast": True}
        file.write_text(json.dumps(content))
    page(study, other, places)


@pytest.mark.parametrize(
    "content",
    [
        '{"asked": "1"}',
        '{"asked": "1", "answer": {"number": 1}}',
        '{"asked": "1", "answer": {"number": 1, "accuracy": "high"}}',
        '{"asked": "1", "ans',
        "[]",
        '{"answer": {"number": 1, "accuracy": 0.5}}',
        '{"asked": "1", "answer": {"number": 1, "accuracy": 0.5}, "scale": 200}',
    ],
)
def test_damaged_answers_are_told_by_name(tmp_path: Path, content: str):
    answers = Answers(tmp_path, Count, FAST)
    assert answers.read("any", {}) is None
    (tmp_path / "any.json").write_text(content)
    with pytest.raises(RunError, match=r"study: `.*any\.json` cannot be read: "):
        answers.read("any") if "asked" in content else answers.read("any", {})


def test_an_answer_comes_back_if_the_same_was_asked(tmp_path: Path):
    answers = Answers(tmp_path / "made", Count, FAST)
    answers.write("any", {"a": 1, "b": [2]}, Count(3, 0.25))
    assert answers.read("any", {"b": [2], "a": 1}) == Count(3, 0.25)
    assert answers.read("any") == Count(3, 0.25)
    assert answers.read("any", {"a": 1, "b": [3]}) is None


def test_a_study_that_there_is_not(shell: Shell):
    assert "study: there is none named 'tasks2'; did you mean 'tasks'?" in shell.fails("study", "tasks2")
    with pytest.raises(ConfigError, match=r"there is none named 'xyzzy'; there are .*, tasks, "):
        studies.study("xyzzy")


def test_every_study_says_what_it_is_and_reads_its_sweeps():
    for name in studies.names():
        study = studies.study(name)
        assert study.name == name
        assert study.question
        assert study.reported
        assert study.ask is not Study.ask
