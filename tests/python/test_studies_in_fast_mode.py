"""Studies end to end, with a few steps of training: those that ask the same learners share their runs."""

from __future__ import annotations

from pathlib import Path

from mambacl.studies import Places, Scale, conduct, study

NAMES = ("efficiency", "selectivity", "forgetting", "regulariser")


def written(places: Places) -> dict[Path, int]:
    """When checkpoints and answers were written."""
    files = [*places.runs.rglob("*.safetensors"), *places.results.rglob("answers/*.json")]
    return {file: file.stat().st_mtime_ns for file in files}


def test_studies_write_their_pages_and_take_what_is_done(tmp_path: Path):
    places = Places(tmp_path / "runs", tmp_path / "results")
    for name in NAMES:
        page = conduct(study(name), Scale.to_try(), places)
        text = page.read_text()
        assert study(name).question in text
        pictures = {file.name for file in page.parent.glob("*.png")}
        assert pictures
        assert all(f"({picture})" in text for picture in pictures)
    before = written(places)
    assert {folder.name for folder in places.runs.iterdir()} == {"sequence-learners", "regulariser"}
    assert not (places.runs / "sequence-learners" / "performer-unguided-seed0").exists()  # none here asks it
    for name in NAMES:
        conduct(study(name), Scale.to_try(), places)
    assert written(places) == before
