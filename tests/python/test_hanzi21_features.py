"""hanzi21_features: views, the cache, the selection of faces."""

import logging
from pathlib import Path
from typing import get_args

import pytest
import torch

from mambacl.data import AffineJitter, Split, hanzi21, hanzi21_features
from mambacl.data.encoder_division import episode_characters
from mambacl.data.hanzi21_features import compute, jittered_views
from mambacl.data.image_classes import ImageClasses
from mambacl.encoders import load_glyph_encoder
from mambacl.episodes import EpisodeSource, EpisodeSpec
from mambacl.errors import InvalidValueError

SPLITS: tuple[Split, ...] = get_args(Split)


def few(
    split: Split, faces: tuple[str, ...] | None = None, jitter: AffineJitter | None = None
) -> ImageClasses:
    return episode_characters(split, faces, jitter).select(range(3))


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Three characters in place of all, and an empty cache."""
    monkeypatch.setenv("MAMBACL_CACHE", str(tmp_path))
    monkeypatch.setattr(hanzi21_features, "episode_characters", few)
    return tmp_path


def images() -> ImageClasses:
    return few("validation", jitter=AffineJitter())


def test_a_view_is_a_function_of_image_view_and_split():
    whole = jittered_views(images(), "validation", range(60), 4)
    assert whole.shape == (60, 4, 1, 32, 32)
    assert torch.equal(jittered_views(images(), "validation", range(17, 23), 4), whole[17:23])
    assert torch.equal(jittered_views(images(), "validation", range(60), 2), whole[:, :2])
    assert whole[5].flatten(1).unique(dim=0).shape[0] == 4


def test_no_split_shares_a_view_of_another():
    shown = [jittered_views(images(), split, range(10), 2).flatten(1) for split in SPLITS]
    assert torch.cat(shown).unique(dim=0).shape[0] == 30


def test_views_are_jittered_images_of_their_own_image():
    """The middle of all views of an image is nearer to this image than to the 59 others, a third of them the
    same character, nearly always (measured: 0.87)."""
    plain = few("validation")
    views = jittered_views(images(), "validation", range(60), 40).mean(1).flatten(1)
    straight = plain.render(torch.arange(60), torch.zeros(60, 0))
    blurred = torch.nn.functional.avg_pool2d(straight, 5, stride=1, padding=2).flatten(1)
    assert (torch.cdist(views, blurred).argmin(1) == torch.arange(60)).double().mean() > 0.75


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_features_do_not_depend_on_how_many_are_computed_at_once(
    monkeypatch: pytest.MonkeyPatch, at_once: int
):
    encoder = load_glyph_encoder()
    expected = compute(images(), "validation", encoder, 2, progress=False)
    assert expected.dtype == torch.float16
    monkeypatch.setattr(hanzi21_features, "_IMAGES_AT_ONCE", at_once)
    features = compute(images(), "validation", encoder, 2, progress=False)
    torch.testing.assert_close(features, expected, atol=4e-3, rtol=2e-3)  # two steps of float16


def test_features_are_those_of_the_views_in_order():
    encoder = load_glyph_encoder("print")
    classes = hanzi21_features.load("test", encoder="print", views=2, progress=False)
    tested = few("test", jitter=AffineJitter())
    assert classes.names == tested.names
    assert classes.features.shape == (len(tested.images), 2, 128)
    for image in (0, 33, len(tested.images) - 1):
        views = jittered_views(tested, "test", range(image, image + 1), 2)
        expected = encoder(views.flatten(0, 1)).half()
        torch.testing.assert_close(classes.features[image], expected, atol=4e-3, rtol=2e-3)


def test_computed_once(folder: Path, monkeypatch: pytest.MonkeyPatch):
    first = hanzi21_features.load("train", views=2, progress=False)
    assert len(list(folder.iterdir())) == 1
    monkeypatch.setattr(hanzi21_features, "compute", None)
    again = hanzi21_features.load("train", views=2, progress=False)
    assert torch.equal(first.features, again.features)
    assert again.names == first.names


def test_each_setting_has_a_file_of_its_own(folder: Path, monkeypatch: pytest.MonkeyPatch):
    for split in SPLITS:
        hanzi21_features.load(split, views=1, progress=False)
    hanzi21_features.load("test", views=2, progress=False)
    hanzi21_features.load("test", views=1, encoder="print", progress=False)
    assert len(list(folder.iterdir())) == 5
    monkeypatch.setattr(hanzi21, "sha256", lambda: "other images")
    hanzi21_features.load("test", views=1, progress=False)
    monkeypatch.setattr(hanzi21_features, "weights_sha256", lambda faces: "other weights")
    hanzi21_features.load("test", views=1, progress=False)
    monkeypatch.setattr(hanzi21_features, "_FORMAT", -1)
    hanzi21_features.load("test", views=1, progress=False)
    assert len(list(folder.iterdir())) == 8


def test_a_damaged_file_is_computed_again(folder: Path, caplog: pytest.LogCaptureFixture):
    good = hanzi21_features.load("test", views=1, progress=False).features
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:-100])
    with caplog.at_level(logging.WARNING, logger="mambacl"):
        assert torch.equal(hanzi21_features.load("test", views=1, progress=False).features, good)
    assert "damaged and computed again" in caplog.text


def test_faces_are_cut_from_the_whole(folder: Path):
    whole = hanzi21_features.load("validation", views=2, progress=False)
    brush = hanzi21_features.load("validation", faces=("brush", "yoz"), views=2, progress=False)
    assert len(list(folder.iterdir())) == 1
    wanted = [i for i, face in enumerate(hanzi21.typefaces()) if face.style == "brush" or face.name == "yoz"]
    kept = torch.isin(whole.domains, torch.tensor(wanted))
    assert torch.equal(brush.features, whole.features[kept])
    assert torch.equal(brush.domains, whole.domains[kept])
    assert brush.names == whole.names
    assert int(brush.examples_per_class.sum()) == int(kept.sum())


def test_stream_and_queries_share_no_face_of_a_character():
    classes = hanzi21_features.load("validation", views=2, progress=False)
    known = {
        tuple(vector.tolist()): n for n, image in enumerate(classes.features.float()) for vector in image
    }
    source = EpisodeSource(classes, EpisodeSpec(tasks=3, train_shots=10, test_shots=10), 0, "validation")
    episode = source.batch(0, 5)
    for train, test in zip(episode.train_x, episode.test_x, strict=True):
        images = [known[tuple(vector.tolist())] for vector in torch.cat([train, test])]
        assert len(set(images)) == 60


def test_unknown_arguments_are_named():
    with pytest.raises(InvalidValueError, match=r"`encoder` must be one of .*'all'.*got 'brush'"):
        hanzi21_features.load("test", encoder="brush")  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="`views` must be at least 1, got 0"):
        hanzi21_features.load("test", views=0)
    with pytest.raises(InvalidValueError, match="`split` must be one of"):
        hanzi21_features.load("valid")  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="`faces` must hold names"):
        hanzi21_features.load("test", faces=("comic",))
