"""Studies from end to end, at the scale that tries every line."""

from __future__ import annotations

from pathlib import Path

import pytest

from mambacl.studies import Places, Scale, conduct, study

LEARNERS = ("mamba", "mamba-mixture", "mamba-unguided", "prototype")
"""Rows enough to draw every figure."""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    """One folder of runs for all."""
    folder: Path = tmp_path_factory.mktemp("studies")
    return Places(folder / "runs", folder / "results")


@pytest.mark.parametrize(
    ("name", "figures"), [("noise", ["embedding", "noise"]), ("order", ["orders"]), ("compound", ["curves"])]
)
def test_a_study_writes_its_page(
    name: str, figures: list[str], places: Places, monkeypatch: pytest.MonkeyPatch
):
    tried = study(name)
    monkeypatch.setattr(type(tried), "asks", lambda self, sweep, learner: learner in LEARNERS)
    written = conduct(tried, Scale.to_try(), places)
    text = written.read_text()
    assert sorted(file.stem for file in written.parent.glob("*.png")) == figures
    for learner in ("mamba", "prototype", "class mean"):
        assert f"| {learner} | " in text
