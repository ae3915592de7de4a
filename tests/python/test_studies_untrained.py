"""Studies of untrained learners: asked at once, and only when something has changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from mambacl.errors import RunError
from mambacl.experiments import Experiment
from mambacl.settings import Settings
from mambacl.studies import Places, Report, Scale, Study, Told, conduct, page

ASKED: list[int] = []


@dataclass(frozen=True)
class Number(Settings):
    """An answer."""

    number: int


class Counting(Study[Number]):
    """Answers with how often it was asked."""

    name = "counting"
    question = "How often?"
    reported = "Nothing."
    sweeps = ()
    answer = Number
    learners: tuple[str, ...] = ("one", "another one")

    def untrained(self) -> Mapping[str, Experiment]:
        return {name: Experiment(name) for name in self.learners}

    def ask_untrained(self, experiments: Mapping[str, Experiment], scale: Scale) -> Mapping[str, Number]:
        ASKED.append(len(experiments))
        return {name: Number(len(ASKED)) for name in experiments}

    def report(self, told: Sequence[Told[Number]]) -> Report:
        return Report({}, {"answers": ", ".join(f"{one.learner}: {one.answer.number}" for one in told)})


class Changed(Counting):
    """Of one learner."""

    learners = ("one",)


@pytest.fixture(autouse=True)
def _nothing_asked() -> None:
    ASKED.clear()


def test_untrained_learners_are_asked_once_at_once(tmp_path: Path):
    places = Places(tmp_path / "runs", tmp_path / "results")
    for _ in range(2):
        text = conduct(Counting(), Scale(), places).read_text()
        assert text.endswith("answers\n\nanother one: 1, one: 1\n")
    assert ASKED == [2]
    assert page(Counting(), Scale(), places).read_text() == text
    assert ASKED == [2]


def test_they_are_asked_again_when_the_scale_or_the_learners_change(tmp_path: Path):
    places = Places(tmp_path / "runs", tmp_path / "results")
    conduct(Counting(), Scale(), places)
    conduct(Counting(), Scale.to_try(), places)
    text = conduct(Changed(), Scale.to_try(), places).read_text()
    assert ASKED == [2, 2, 1]
    assert text.endswith("answers\n\none: 3\n")  # the other's answer is gone
    assert len(list((tmp_path / "results").rglob("*.json"))) == 1


def test_without_answers_there_is_no_page(tmp_path: Path):
    with pytest.raises(RunError, match="there is no answer to 'counting' yet"):
        page(Counting(), Scale(), Places(tmp_path, tmp_path))


def test_a_damaged_answer_is_told(tmp_path: Path):
    places = Places(tmp_path, tmp_path)
    conduct(Counting(), Scale(), places)
    file = places.study("counting") / "answers" / "untrained--one.json"
    file.write_text(file.read_text()[:-5])
    with pytest.raises(RunError, match=r"untrained--one\.json` cannot be read"):
        conduct(Counting(), Scale(), places)


def test_a_study_with_sweeps_must_say_how_it_asks():
    with pytest.raises(NotImplementedError, match="'counting' has sweeps"):
        Counting().ask(None, Scale())  # pyright: ignore[reportArgumentType]
