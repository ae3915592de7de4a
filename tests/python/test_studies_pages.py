"""Pages of studies: what is always told, and the list of them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mambacl import studies
from mambacl.commands import study as command
from mambacl.errors import RunError
from mambacl.processes import Failure
from mambacl.studies import Places, Report, Scale, Told, conduct, write_contents
from mambacl.studies.conditions import ByCondition
from mambacl.studies.order import Orders
from mambacl.studies.page import write_page
from mambacl.studies.summary import Summary
from written_outcomes import written_outcome

COMMITTED = Path(__file__).parents[2] / "docs/results/studies/README.md"


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        (Scale(), "mambacl study order"),
        (Scale(episodes=50), "mambacl study order --episodes 50"),
        (Scale.to_try(), "mambacl study order --fast"),
    ],
)
def test_a_page_gives_command_seeds_and_notes(tmp_path: Path, scale: Scale, expected: str):
    answer = ByCondition({"contiguous": (0.9, 0.01)})
    told = [
        Told("orders", name, answer, seed, written_outcome("features-mamba", name))
        for name, seed in (("mamba", 0), ("mamba", 1), ("oml", 0), ("prototype", 0))
    ]
    told.append(Told("orders", "class mean", answer))
    report = Report({}, {"caption": "table"}, notes=("Something is left out.",))
    text = write_page(Orders(), scale, told, report, tmp_path).read_text()
    assert f"```sh\n{expected}\n```" in text
    assert (
        "\n\nModels of [orders](../../orders/table.md): seeds 0, 1 of mamba; seed 0 of oml, prototype.\n\n"
    ) in text
    assert "\n\nSomething is left out.\n\n" in text
    assert ("say nothing of learners" in text) == scale.fast


def test_the_list_leads_to_the_pages_that_there_are(tmp_path: Path):
    (tmp_path / "shots").mkdir()
    (tmp_path / "shots/README.md").write_text("there")
    every = [studies.study(name) for name in studies.names()]
    text = write_contents(every, Scale(), tmp_path).read_text()
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [
        "[Shots](shots/README.md)" if name == "shots" else name.capitalize() for name in studies.names()
    ]
    for study in every:
        assert f"{study.question}\n\n```sh\nmambacl study {study.name}\n```" in text


def test_the_committed_list_is_of_these_studies(tmp_path: Path):
    every = [studies.study(name) for name in studies.names()]
    for name in studies.names():
        if (COMMITTED.parent / name / "README.md").exists():
            (tmp_path / name).mkdir()
            (tmp_path / name / "README.md").touch()
    assert COMMITTED.read_text() == write_contents(every, Scale(), tmp_path).read_text()


def test_the_command_writes_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def no_page(study: studies.Study[Any], scale: Scale, places: Places) -> Path:
        del scale
        return places.study(study.name)

    monkeypatch.setattr(studies, "page", no_page)
    command.run(command.Study("shots", page=True, results=tmp_path))
    assert (tmp_path / "studies/README.md").read_text().startswith("# Studies\n\n")


def test_the_command_tells_that_nothing_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def known(
        study: studies.Study[Any], scale: Scale, places: Places, on_asked: Callable[[int, int], None]
    ) -> Path:
        del scale
        on_asked(7, 0)
        return places.study(study.name)

    monkeypatch.setattr(studies, "conduct", known)
    command.run(command.Study("shots", results=tmp_path))
    folder = tmp_path / "studies" / "shots"
    assert capsys.readouterr().out.splitlines() == [
        f"Answers: 7 were in {folder} already, none was asked now; `--results DIR --runs DIR` begins anew",
        f"Written to {folder}",
    ]


def test_all_pages_that_can_be_are_written_and_the_others_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    first, second, *others = studies.names()

    def some_page(study: studies.Study[Any], scale: Scale, places: Places) -> Path:
        del scale
        if study.name in (first, second):
            raise RunError(f"study: there is no answer to {study.name!r} yet")
        return places.study(study.name)

    monkeypatch.setattr(studies, "page", some_page)
    with pytest.raises(
        RunError, match=f"no answer to '{first}' yet\\n  study: there is no answer to '{second}'"
    ):
        command.run(command.Study("all", page=True, results=tmp_path))
    written = capsys.readouterr().out.splitlines()
    assert written == [f"Written to {tmp_path / 'studies' / name}" for name in others]
    assert (tmp_path / "studies/README.md").exists()


@pytest.mark.parametrize(
    ("scores", "expected", "text"),
    [
        ([(0.9, 0.02)], Summary(0.9, 0.88, 0.92, 1), "0.900 ± 0.020"),
        ([(0.9, 0.02), (0.7, 0.1), (0.8, 0.0)], Summary(0.8, 0.7, 0.9, 3), "0.800 (0.700 to 0.900)"),
    ],
)
def test_of_one_model_episodes_vary_and_of_several_seeds(
    scores: list[tuple[float, float]], expected: Summary, text: str
):
    found = Summary.of(scores)
    assert (found.mean, found.low, found.high) == pytest.approx((expected.mean, expected.low, expected.high))
    assert found.models == expected.models
    assert str(found) == text


def test_runs_that_fail_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def failing(*_: object) -> list[Failure]:
        return [Failure("mamba-seed0", "killed by SIGKILL", tmp_path / "mamba-seed0.log")]

    monkeypatch.setattr(
        sys.modules["mambacl.studies.conduct"], "run_cells", failing
    )  # the function's namesake
    places = Places(tmp_path / "runs", tmp_path / "results")
    with pytest.raises(RunError, match=r"1 runs of orders failed.*\n  mamba-seed0: killed by SIGKILL \(see "):
        conduct(Orders(), Scale(), places)
