"""The frozen encoders: their files, their features, and their training."""

import hashlib
import json
from pathlib import Path
from typing import get_args

import pytest
import torch
import torch.nn.functional as F

from mambacl.data import AffineJitter, FeatureClasses, ImageClasses, hanzi21
from mambacl.data.encoder_division import encoder_characters, episode_characters
from mambacl.data.hanzi21_features import compute
from mambacl.encoder_training import glyph_encoder as training
from mambacl.encoder_training.glyph_encoder import TrainGlyphEncoder
from mambacl.encoder_training.glyph_figures import PRINT_STYLES, faces_of
from mambacl.encoders import GlyphEncoder, GlyphFaces, glyph_encoder, load_glyph_encoder
from mambacl.encoders.glyph_encoder import packed_weights
from mambacl.episodes import EpisodeSource, EpisodeSpec
from mambacl.errors import ConfigError, DtypeError, InvalidValueError, ShapeError
from mambacl.evaluation import evaluate_predictor
from mambacl.yardsticks import class_mean, nearest_neighbour

FACES: tuple[GlyphFaces, ...] = get_args(GlyphFaces)
FOLDER = Path(glyph_encoder.__file__).parent / "files"


def test_no_character_trains_the_encoder_and_stands_in_an_episode():
    parts = [
        encoder_characters(),
        episode_characters("train"),
        episode_characters("validation"),
        episode_characters("test"),
    ]
    assert [len(part) for part in parts] == [1200, 1300, 363, 700]
    assert len(set().union(*(part.names for part in parts))) == 3563
    assert set(parts[0].names) | set(parts[1].names) == set(hanzi21.load("train").names)


def test_division_is_pinned():
    """Whoever changes these characters needs new weights, and changes every published figure."""
    assert "".join(encoder_characters().names[:8]) == "一丈三上与丑且个"
    assert "".join(episode_characters("train").names[:8]) == "世丘丞両串丶丸乎"


def test_division_keeps_each_image_with_its_character():
    train, part = hanzi21.load("train", faces=("ming",)), encoder_characters(faces=("ming",))
    for position in (0, 600, 1199):
        whole = train.names.index(part.names[position])
        assert torch.equal(inputs_of(part, position), inputs_of(train, whole))


def inputs_of(classes: ImageClasses, number: int) -> torch.Tensor:
    examples = torch.arange(int(classes.examples_per_class[number]))
    return classes.inputs(torch.full_like(examples, number), examples, torch.empty(len(examples), 0))


def test_print_faces_are_those_of_the_print_encoder():
    assert faces_of("all") is None
    assert faces_of("print") == PRINT_STYLES == ("ming", "gothic")


def test_the_files_are_small():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 2_000_000


@pytest.mark.parametrize("faces", FACES)
def test_a_packaged_encoder_is_frozen_and_as_described(faces: GlyphFaces):
    random = torch.random.get_rng_state()
    encoder = load_glyph_encoder(faces)
    assert torch.equal(torch.random.get_rng_state(), random)
    assert not encoder.training
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    contents = (FOLDER / f"glyph_encoder_{faces}.safetensors").read_bytes()
    description = json.loads((FOLDER / f"glyph_encoder_{faces}.json").read_text())
    assert description["sha256"] == hashlib.sha256(contents).hexdigest()
    assert description["settings"]["faces"] == faces
    assert {figure["split"] for figure in description["figures"]} == {"validation", "test"}


def test_the_two_encoders_differ():
    images = torch.rand(1, 1, 32, 32)
    assert not torch.allclose(
        load_glyph_encoder("all")(images), load_glyph_encoder("print")(images), atol=0.1
    )


def test_features_lie_on_a_sphere_and_do_not_depend_on_the_batch():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(40, 1, 32, 32, generator=generator) * 2 - 1
    encoder = load_glyph_encoder()
    features = encoder(images)
    assert features.shape == (40, GlyphEncoder.DIM)
    torch.testing.assert_close(features.square().sum(1), torch.full((40,), 128.0))
    alone = torch.cat([encoder(image[None]) for image in images])
    torch.testing.assert_close(alone, features, atol=1e-4, rtol=1e-4)


def test_the_layers_compute_what_their_names_say():
    """The whole network written out with functions, on the file's own numbers."""
    encoder = load_glyph_encoder()
    weights = encoder.state_dict()
    x = images = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    for layer, stride in enumerate((2, 1, 2, 1, 2)):
        kernel = weights[f"layers.{layer}.0.weight"]
        x = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
        mean, var, weight, bias = (
            weights[f"layers.{layer}.1.{name}"].view(1, -1, 1, 1)
            for name in ("running_mean", "running_var", "weight", "bias")
        )
        x = ((x - mean) / (var + 1e-5).sqrt() * weight + bias).clamp(min=0)
    x = x.mean((2, 3)) @ weights["layers.7.weight"].T
    x = (x - weights["layers.8.running_mean"]) / (weights["layers.8.running_var"] + 1e-5).sqrt()
    expected = x / x.norm(dim=1, keepdim=True) * 128**0.5
    torch.testing.assert_close(encoder(images), expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("faces", "styles", "floor"), [("all", None, 0.9), ("print", ("brush", "hand", "display"), 0.65)]
)
def test_class_mean_of_features_tells_unseen_characters_apart(
    faces: GlyphFaces, styles: tuple[str, ...] | None, floor: float
):
    """Measured .98 and .78; pixels give less than half of this."""
    images = episode_characters("validation", styles, AffineJitter()).select(range(0, 363, 12))
    features = FeatureClasses(
        compute(images, "validation", load_glyph_encoder(faces), 1, progress=False),
        images.examples_per_class,
        images.names,
        images.domains,
        images.domain_names,
    )
    spec = EpisodeSpec(tasks=20, train_shots=5, test_shots=5)
    source = EpisodeSource(features, spec, 0, "validation")
    pixels = EpisodeSource(images, spec, 0, "validation")
    accuracy = evaluate_predictor(class_mean, source, 20).mean
    assert accuracy > floor
    assert accuracy > 2 * evaluate_predictor(nearest_neighbour, pixels, 20).mean


def test_wrong_arguments_are_named():
    encoder = load_glyph_encoder()
    with pytest.raises(ShapeError, match=r"must have shape \(n, 1, 32, 32\), got \(2, 3, 32, 32\)"):
        encoder(torch.zeros(2, 3, 32, 32))
    with pytest.raises(DtypeError, match=r"must be float32, got torch\.uint8"):
        encoder(torch.zeros(2, 1, 32, 32, dtype=torch.uint8))
    with pytest.raises(InvalidValueError, match=r"`faces` must be one of .*'print'.*got 'brush'"):
        load_glyph_encoder("brush")  # type: ignore[arg-type]


SETTINGS = TrainGlyphEncoder(Path("unused"), epochs=3, batch_size=32)


def test_training_learns_and_is_the_same_every_time():
    images = encoder_characters(jitter=AffineJitter()).select(range(8))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        state = torch.random.get_rng_state()
        one, other = (training.train(images, SETTINGS, progress=False) for _ in range(2))
        assert torch.equal(torch.random.get_rng_state(), state)
    finally:
        torch.set_num_threads(threads)
    for name, weight in packed_weights(one).items():
        assert torch.equal(weight, packed_weights(other)[name]), name
    assert not one.training

    numbers = torch.arange(len(images.images))
    labels = torch.arange(8).repeat_interleave(images.examples_per_class)
    features = one(images.render(numbers, torch.full((len(numbers), 6), 0.5)))
    means = torch.stack([features[labels == label].mean(0) for label in range(8)])
    nearest = torch.cdist(features, means).argmin(1)
    assert (nearest == labels).double().mean() > 0.7


def test_a_run_writes_weights_that_load_and_their_figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    few = range(40)
    monkeypatch.setattr(training, "encoder_characters", lambda *given: encoder_characters(*given).select(few))
    monkeypatch.setattr(
        "mambacl.encoder_training.glyph_figures.episode_characters",
        lambda *given: episode_characters(*given).select(few),
    )
    out = tmp_path / "new" / "weights.safetensors"
    settings = TrainGlyphEncoder(out, faces="print", epochs=1, episodes=2)
    printed = training.run(settings)
    description = json.loads(out.with_suffix(".json").read_text())
    assert description["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert description["settings"]["epochs"] == 1
    figures = description["figures"]
    assert {figure["split"] for figure in figures} == {"validation"}
    assert {figure["faces"] for figure in figures} == {"ming, gothic", "brush, hand, display"}
    assert len(figures) == 16  # 2 groups of faces x 2 sizes x features or pixels x 2 predictors
    assert printed.count("class mean") == 8


@pytest.mark.parametrize("name", ["epochs", "batch_size", "episodes"])
def test_settings_must_make_sense(name: str):
    with pytest.raises(ConfigError, match=f"`{name}` must be from [12] to .*, got 0"):
        TrainGlyphEncoder(Path("unused"), **{name: 0})


def test_a_batch_larger_than_the_images_is_refused():
    images = encoder_characters(jitter=AffineJitter()).select([0])
    with pytest.raises(ConfigError, match=r"at most the number of images, 2[01], got 32"):
        training.train(images, SETTINGS, progress=False)
