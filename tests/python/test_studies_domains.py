"""The study of domains: its episodes, and what is told with Omniglot and without."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from PIL import Image

from mambacl import EpisodeSource, EpisodeSpec
from mambacl.data.feature_classes import FeatureClasses
from mambacl.episodes import Episodes
from mambacl.errors import DataError, InvalidValueError
from mambacl.experiments.files import load
from mambacl.studies import Places, Scale, Told, conduct, page
from mambacl.studies.conditions import ByCondition
from mambacl.studies.domain_parts import DESIGNS, FACES, OMNIGLOT, PARTS, PIXELS
from mambacl.studies.domains import Domains
from mambacl.studies.view_episodes import ViewEpisodes
from mambacl.sweeps import read_sweep
from mambacl.sweeps.files import sweep_file
from written_outcomes import written_outcome

VIEWS = 4


@pytest.fixture(autouse=True)
def _no_omniglot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(OMNIGLOT, raising=False)


@pytest.fixture
def omniglot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like that of the real part: 136 characters, 20 drawings each, a black square on white."""
    for number in range(136):
        folder = tmp_path / f"images_background_small1/Alphabet/character{number:03}"
        folder.mkdir(parents=True)
        drawing = Image.new("1", (105, 105), 1)
        drawing.paste(0, (number % 60, 10, number % 60 + 40, 50))
        for person in range(20):
            drawing.save(folder / f"{number:04}_{person:02}.png")
    monkeypatch.setenv("MAMBACL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(OMNIGLOT, str(tmp_path))
    return tmp_path


def numbered(images: int = 3, shots: int = 2, order: str = "contiguous") -> EpisodeSource:
    """Of features that tell class, image and view."""
    rows = [[[c, image, view] for view in range(VIEWS)] for c in range(6) for image in range(images)]
    classes = FeatureClasses(
        features=torch.tensor(rows, dtype=torch.float16),
        examples_per_class=torch.full((6,), images),
        names=tuple("abcdef"),
        domains=torch.arange(images).repeat(6),
        domain_names=("x", "y", "z")[:images],
    )
    spec = EpisodeSpec(tasks=3, train_shots=shots, test_shots=1, vocab=8, order=order)  # pyright: ignore[reportArgumentType]
    return EpisodeSource(classes, spec, 0, "test")


@pytest.mark.parametrize("shots", [2, 5, 8])
def test_streams_go_on_with_other_views_of_the_same_images(shots: int):
    source = numbered()
    plain, made = source.batch(3, 4), ViewEpisodes(source, shots).batch(3, 4)
    assert torch.equal(made.test_x, plain.test_x)
    assert torch.equal(made.codebook, plain.codebook)
    assert made.train_y.tolist() == [[0] * shots + [1] * shots + [2] * shots] * 4
    streams = made.train_x.unflatten(1, (3, shots))
    assert torch.equal(streams[:, :, :2], plain.train_x.unflatten(1, (3, 2)))  # which begin with the source's
    for stream, queries in zip(streams, made.test_x, strict=True):
        for shown, (character, asked, _) in zip(stream.tolist(), queries.tolist(), strict=True):
            assert len({tuple(one) for one in shown}) == shots  # nothing twice
            assert {one[0] for one in shown} == {character}
            assert [one[1] for one in shown] == ([shown[0][1], shown[1][1]] * shots)[:shots]  # in turn
            assert asked not in {one[1] for one in shown}
            assert shown[0][1] != shown[1][1]


def test_views_that_there_are_not():
    with pytest.raises(InvalidValueError, match="must be from 2 to 8, 2 images in 4 views, got 9"):
        ViewEpisodes(numbered(), 9)
    with pytest.raises(InvalidValueError, match="got 1"):
        ViewEpisodes(numbered(), 1)
    with pytest.raises(InvalidValueError, match="got FeatureClasses in the order 'shuffled'"):
        ViewEpisodes(numbered(order="shuffled"), 4)
    pixels = load("glyphs-mamba").source("test")
    assert isinstance(pixels, EpisodeSource)
    with pytest.raises(
        InvalidValueError, match=r"must be of FeatureClasses .*, got ImageClasses in the order"
    ):
        ViewEpisodes(pixels, 5)


def test_domains_show_their_own_faces():
    experiment = load("features-mamba-faces")
    shown = {domain.condition: domain.source(experiment) for domain in PARTS[FACES].domains}
    styles = {
        "print, 5 images": 8,
        "all others, 5 images": 13,
        "print, 5 views of 2 images": 8,
        "brush, 5 views of 2 images": 5,
        "hand, 5 views of 2 images": 3,
        "display, 5 views of 2 images": 5,
    }
    assert {name: faces(source) for name, source in shown.items()} == styles
    for source in shown.values():
        made = source.batch(0, 2)
        assert made.train_y.tolist() == [[label for label in range(5) for _ in range(5)]] * 2
    own = experiment.source("test", train_shots=5).batch(0, 1)
    assert torch.equal(shown["all others, 5 images"].batch(0, 1).train_x, own.train_x)


def faces(source: Episodes) -> int:
    inner = source.source if isinstance(source, ViewEpisodes) else source
    assert isinstance(inner, EpisodeSource)
    assert isinstance(inner.classes, FeatureClasses)
    return len(inner.classes.domains.unique())


def test_emoji_are_of_designs_known_and_held_out():
    (row, *_) = read_sweep(sweep_file(DESIGNS)).rows
    (experiment, *_) = row.experiments.values()
    shown = {domain.condition: domain.source(experiment) for domain in PARTS[DESIGNS].domains}
    assert {name: faces(source) for name, source in shown.items()} == {
        "known designs, 2 images": 4,
        "held out, 2 images": 4,
        "known designs, 1 image": 4,
        "black and white, 1 image": 2,
    }
    known = experiment.data.classes("train")
    assert isinstance(known, FeatureClasses)
    for name, source in shown.items():
        assert isinstance(source, EpisodeSource)
        assert isinstance(source.classes, FeatureClasses)
        same = {source.classes.domain_names[face] for face in source.classes.domains.unique()} & {
            known.domain_names[face] for face in known.domains.unique()
        }
        assert len(same) == (4 if "known" in name else 0)
        assert not {*source.classes.names} & {*known.names}
        made = source.batch(0, 2)
        assert made.train_x.shape[1] == 5 * (2 if "2 images" in name else 1)
        assert made.test_x.shape[1] == 5


def test_drawings_are_as_images_of_meta_training(omniglot: Path):
    del omniglot
    experiment = load("glyphs-mamba")
    known, drawn = (domain.source(experiment).batch(0, 2) for domain in PARTS[PIXELS].domains)
    assert torch.equal(known.train_x, experiment.source("test").batch(0, 2).train_x)
    assert drawn.train_x.shape == known.train_x.shape
    assert drawn.test_x.shape == known.test_x.shape
    assert drawn.train_x.min() == -1  # the ground
    assert drawn.train_x.max() == 1  # the ink
    assert (drawn.train_x < 0).double().mean() > 0.5


def test_learners_of_pixels_are_asked_where_omniglot_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    study = Domains()
    assert study.asks(FACES, "mamba")
    assert not study.asks(PIXELS, "mamba")
    monkeypatch.setenv(OMNIGLOT, str(tmp_path))
    assert study.asks(PIXELS, "mamba")
    monkeypatch.setenv(OMNIGLOT, str(tmp_path / "gone"))
    with pytest.raises(DataError, match="MAMBACL_OMNIGLOT must name the folder of omniglot-small1, got"):
        study.asks(PIXELS, "mamba")


def test_the_parts_are_those_of_the_sweeps():
    for name in Domains.sweeps:
        for row in read_sweep(sweep_file(name)).rows:
            assert {one.data.kind for one in row.experiments.values()} == {PARTS[name].data}


def told(sweep: str, learner: str, *means: float, seed: int | None = 0) -> Told[ByCondition]:
    conditions = [domain.condition for domain in PARTS[sweep].domains]
    scores = ByCondition(dict(zip(conditions, ((mean, 0.01) for mean in means), strict=True)))
    outcome = None if seed is None else written_outcome("features-mamba-faces", learner)
    return Told(sweep, learner, scores, seed, outcome)


def test_domains_of_the_same_streams_stand_beside_one_another():
    of_faces = [
        told(FACES, "mamba", 0.9, 0.7, 0.8, 0.5, 0.6, 0.7),
        told(FACES, "mamba", 0.8, 0.7, 0.8, 0.4, 0.6, 0.7, seed=1),
        told(FACES, "class mean", 1.0, 0.9, 1.0, 0.8, 1.0, 1.0, seed=None),
    ]
    of_pixels = [told(PIXELS, "mamba", 0.9, 0.5), told(PIXELS, "class mean", 0.8, 0.6, seed=None)]
    report = Domains().report(of_faces + of_pixels)
    assert report.notes == ()
    axes = report.figures["domains"].get_axes()
    assert [(ax.get_title(), [label.get_text() for label in ax.get_xticklabels()]) for ax in axes] == [
        ("features, 5 images", ["print", "all others"]),
        ("features, 5 views of 2 images", ["print", "brush", "hand", "display"]),
        ("pixels, 5 images", ["hanzi21", "Omniglot"]),
    ]
    left, _, right = (bars(ax) for ax in axes)
    assert left["mamba"].heights == pytest.approx([0.85, 0.7])
    assert right["class mean"].heights == pytest.approx([0.8, 0.6])
    assert {name: bar.hatch for name, bar in left.items()} == {name: bar.hatch for name, bar in right.items()}
    assert left["mamba"].hatch != left["class mean"].hatch
    (_, on_features), (_, on_pixels) = report.tables.items()
    assert "| mamba | 0.850 (0.800 to 0.900) | 0.700 (0.700 to 0.700) |" in on_features
    assert "| class mean | 0.800 ± 0.010 | 0.600 ± 0.010 |" in on_pixels
    without = Domains().report(of_faces)
    assert "`MAMBACL_OMNIGLOT` set to the folder" in without.notes[0]
    assert len(without.figures["domains"].get_axes()) == 2
    plt.close("all")


def bars(ax: Axes) -> dict[str, SimpleNamespace]:
    return {
        str(one.get_label()): SimpleNamespace(
            heights=[bar.get_height() for bar in one.patches], hatch=one.patches[0].get_hatch()
        )
        for one in ax.containers
        if isinstance(one, BarContainer)
    }


def test_from_end_to_end_without_omniglot(tmp_path: Path):
    places = Places(tmp_path / "runs", tmp_path / "results")
    written = conduct(Domains(), Scale.to_try(), places).read_text()
    assert "Omniglot was not there" in written
    assert "| print, 5 images | display, 5 views of 2 images |" in written
    assert {folder.name for folder in places.runs.iterdir()} == {FACES, DESIGNS}
    assert page(Domains(), Scale.to_try(), places).read_text() == written
    (cell,) = (places.results / FACES / "cells").glob("oml-*.json")
    outcome = json.loads(cell.read_text())
    cell.write_text(json.dumps(outcome | {"diverged": "step 3: the loss is NaN"}))
    text = page(Domains(), Scale.to_try(), places).read_text()
    assert "\n\nLeft out: oml, seed 0, whose training diverged: step 3: the loss is NaN\n\n" in text
    assert "| oml |" not in text


def one_learner(study: Domains, sweep: str, learner: str) -> bool:
    del study, sweep
    return learner == "prototype"


def test_answers_of_elsewhere_stay_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, omniglot: Path
):
    """Whoever lacks Omniglot asks nothing about it, and loses nothing that is known of it."""
    del omniglot
    monkeypatch.setattr(Domains, "sweeps", (PIXELS,))
    monkeypatch.setattr(Domains, "asks", one_learner)
    places = Places(tmp_path / "runs", tmp_path / "results")
    written = conduct(Domains(), Scale.to_try(), places).read_text()
    assert "| prototype | " in written
    monkeypatch.undo()
    monkeypatch.delenv(OMNIGLOT, raising=False)
    again = page(Domains(), Scale.to_try(), places).read_text()
    assert again == written
