"""Data sets in miniature, in the true formats of the large ones, and what must be read from them."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.io import savemat

from mambacl.data.sets.casia_hwdb import CASIA_HWDB
from mambacl.data.sets.cifar100 import CIFAR_100
from mambacl.data.sets.cub import CUB_200_2011
from mambacl.data.sets.data_set import DataSet
from mambacl.data.sets.domainnet import DOMAIN_NET, DOMAINS
from mambacl.data.sets.fgvc_aircraft import FGVC_AIRCRAFT
from mambacl.data.sets.image_folder import FOLDER, IMAGENET_1K, IMAGENET_R, MS_CELEB_1M, STANFORD_DOGS
from mambacl.data.sets.omniglot import OMNIGLOT, OMNIGLOT_SMALL1, Part
from mambacl.data.sets.stanford_cars import STANFORD_CARS
from mambacl.data.splits import HeldOut, Split

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Tiny:
    """A set in a folder.

    Attributes:
        data_set: That reads it, told of the smaller sizes.
        truth: The pixels of each class's examples, in order, (height, width) or (height, width, 3).
        sizes: Classes of each split.
        tolerance: Of each pixel; JPEG is not exact.
    """

    data_set: DataSet
    truth: dict[str, list[Pixels]]
    sizes: dict[Split, int]
    tolerance: int = 0


def colour(kind: int, example: int) -> Pixels:
    """A picture of one colour, which no other (class, example) has; JPEG keeps such a one nearly as it is."""
    return np.full((12, 16, 3), (20 * kind + 5, 40 * example + 10, 255 - 20 * kind), np.uint8)


def drawing(seed: int) -> Pixels:
    """Ink on white, black and white."""
    return np.where(np.random.default_rng(seed).random((105, 105)) < 0.1, 0, 255).astype(np.uint8)


def saved(path: Path, pixels: Pixels) -> Pixels:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(
        path, **({"quality": 95} if path.suffix.lower() in (".jpg", ".jpeg") else {})
    )
    return pixels


def cifar_100(root: Path) -> Tiny:
    classes, train, test = 10, 4, 2
    folder = root / "cifar-100-binary"
    folder.mkdir(parents=True)
    names = [f"thing_{label}" for label in range(classes)]
    (folder / "fine_label_names.txt").write_text("\n".join(names) + "\n")
    random = np.random.default_rng(0)
    truth: dict[str, list[Pixels]] = {name: [] for name in names}
    for file, each in (("train.bin", train), ("test.bin", test)):
        contents = b""
        for label in random.permutation(np.repeat(np.arange(classes), each)).tolist():
            picture = random.integers(0, 256, (32, 32, 3), np.uint8)
            truth[names[label]].append(picture)
            contents += bytes([label // 5, label]) + picture.transpose(2, 0, 1).tobytes()
        (folder / file).write_bytes(contents)
    small = replace(
        CIFAR_100, classes=10, train_images=train, test_images=test, held_out=HeldOut(validation=1, test=4)
    )
    return Tiny(small, truth, {"train": 5, "validation": 1, "test": 4})


def _omniglot_part(name: str, alphabets: int) -> dict[str, Pixels]:
    """Files of a part and their drawings: two characters of each alphabet."""
    files: dict[str, Pixels] = {}
    for alphabet in range(alphabets):
        for character in (1, 2):
            for number in range(1, 21):
                place = f"{name}/Alphabet_{alphabet}/character{character:02}"
                seed = 100 * alphabet + 50 * character + number
                files[f"{place}/{alphabet:02}{character:02}_{number:02}.png"] = drawing(seed)
    return files


def _omniglot_truth(files: dict[str, Pixels]) -> dict[str, list[Pixels]]:
    truth: dict[str, list[Pixels]] = {}
    for file, pixels in files.items():
        truth.setdefault("/".join(file.split("/")[1:3]), []).append(pixels)
    return truth


def omniglot_folders(root: Path) -> Tiny:
    background = _omniglot_part("images_background", 3)
    evaluation = {
        file.replace("Alphabet", "Unseen"): pixels
        for file, pixels in _omniglot_part("images_evaluation", 2).items()
    }
    for file, pixels in (background | evaluation).items():
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).convert("1").save(path)
    small = replace(
        OMNIGLOT,
        background=Part("images_background", 6),
        evaluation=Part("images_evaluation", 4),
        held_out=HeldOut(validation=2, test=0),
    )
    truth = _omniglot_truth(background) | _omniglot_truth(evaluation)
    return Tiny(small, truth, {"train": 4, "validation": 2, "test": 4})


def omniglot_zip(root: Path) -> Tiny:
    name = "images_background_small1"
    files = _omniglot_part(name, 5)
    root.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(root / f"{name}.zip", "w") as archive:
        archive.writestr(f"{name}/", "")
        for file, pixels in files.items():
            contents = io.BytesIO()
            Image.fromarray(pixels).convert("1").save(contents, "png")
            archive.writestr(file, contents.getvalue())
    small = replace(OMNIGLOT_SMALL1, background=Part(name, 10))
    return Tiny(small, _omniglot_truth(files), {"train": 6, "validation": 1, "test": 3})


def gnt_record(character: str, bitmap: Pixels) -> bytes:
    code = character.encode("gbk").ljust(2, b"\0")
    height, width = bitmap.shape
    return struct.pack("<I2sHH", 10 + bitmap.size, code, width, height) + bitmap.tobytes()


def casia_hwdb(root: Path) -> Tiny:
    characters = "一丁七万丈三上下!"
    random = np.random.default_rng(0)
    truth: dict[str, list[Pixels]] = {character: [] for character in characters}
    for folder, writer in (("Gnt1.0TrainPart1", "001-f"), ("Gnt1.0Test", "002-f"), ("Gnt1.1Test", "1001-c")):
        contents = b""
        for character in characters:
            height, width = random.integers(1, 20, 2).tolist()
            bitmap = random.integers(0, 256, (height, width), np.uint8)
            contents += gnt_record(character, bitmap)
            side = max(height, width)
            square = np.full((side, side), 255, np.uint8)
            top, left = (side - height) // 2, (side - width) // 2
            square[top : top + height, left : left + width] = bitmap
            truth[character].append(square)
        contents += gnt_record("丁", np.zeros((0, 7), np.uint8))  # some records have no pixel
        (root / folder).mkdir(parents=True)
        (root / folder / f"{writer}.gnt").write_bytes(contents)
    small = replace(CASIA_HWDB, files=3, held_out=HeldOut(validation=2, test=3))
    return Tiny(small, truth, {"train": 4, "validation": 2, "test": 3})


def _folders(folder: Path, names: list[str], suffix: str) -> dict[str, list[Pixels]]:
    return {
        name: [
            saved(folder / name / f"{name[:4]}_{example}{suffix}", colour(number, example))
            for example in range(3)
        ]
        for number, name in enumerate(names)
    }


def folder(root: Path) -> Tiny:
    truth = _folders(root, [f"class {number}" for number in range(10)], ".png")
    (root / "README.txt").write_text("no class")
    (root / "class 0" / "notes.txt").write_text("no image")
    return Tiny(FOLDER, truth, {"train": 6, "validation": 1, "test": 3})


def imagenet_1k(root: Path) -> Tiny:
    truth = _folders(root / "train", [f"n0144076{number}" for number in range(10)], ".JPEG")
    (root / "val").mkdir()
    return Tiny(
        replace(IMAGENET_1K, classes=10, images=30), truth, {"train": 6, "validation": 1, "test": 3}, 4
    )


def imagenet_r(root: Path) -> Tiny:
    truth = _folders(root / "imagenet-r", [f"n0144353{number}" for number in range(10)], ".jpg")
    return Tiny(
        replace(IMAGENET_R, classes=10, images=30), truth, {"train": 6, "validation": 1, "test": 3}, 4
    )


def stanford_dogs(root: Path) -> Tiny:
    truth = _folders(root / "Images", [f"n0208562{number}-Dog{number}" for number in range(10)], ".jpg")
    return Tiny(
        replace(STANFORD_DOGS, classes=10, images=30), truth, {"train": 6, "validation": 1, "test": 3}, 4
    )


def ms_celeb_1m(root: Path) -> Tiny:
    truth = _folders(root / "MS-Celeb-1M", [f"m.0{number}" for number in range(7)], ".jpg")
    saved(root / "MS-Celeb-1M" / "m.rare" / "0.jpg", colour(8, 0))  # too few
    small = replace(MS_CELEB_1M, least=3, held_out=HeldOut(validation=1, test=2))
    return Tiny(small, truth, {"train": 4, "validation": 1, "test": 2}, 4)


def cub_200_2011(root: Path) -> Tiny:
    base = root / "CUB_200_2011"
    names = [f"{number + 1:03}.Bird_{number}" for number in range(10)]
    truth = _folders(base / "images", names, ".jpg")
    files = [f"{name}/{name[:4]}_{example}.jpg" for name in names for example in range(3)]
    (base / "classes.txt").write_text("".join(f"{n + 1} {name}\n" for n, name in enumerate(names)))
    (base / "images.txt").write_text("".join(f"{n + 1} {file}\n" for n, file in enumerate(files)))
    (base / "image_class_labels.txt").write_text("".join(f"{n + 1} {n // 3 + 1}\n" for n in range(30)))
    return Tiny(
        replace(CUB_200_2011, classes=10, images=30), truth, {"train": 6, "validation": 1, "test": 3}, 4
    )


def stanford_cars(root: Path) -> Tiny:
    base = root / "stanford_cars"
    (base / "devkit").mkdir(parents=True)
    names = [f"Maker Model {number} 2012" for number in range(10)]
    objects = np.empty(10, object)
    objects[:] = names
    savemat(base / "devkit" / "cars_meta.mat", {"class_names": objects[None]})
    truth: dict[str, list[Pixels]] = {name: [] for name in names}
    boxes = [(name, "O") for name in ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")]
    for part, path, examples in (
        ("cars_train", base / "devkit" / "cars_train_annos.mat", (0, 1)),
        ("cars_test", base / "cars_test_annos_withlabels.mat", (2,)),
    ):
        rows = []
        for number, example in ((number, example) for number in range(10) for example in examples):
            file = f"{len(rows) + 1:05}.jpg"
            truth[names[number]].append(saved(base / part / file, colour(number, example)))
            rows.append((1, 1, 9, 9, number + 1, file))
        savemat(path, {"annotations": _struct(rows, boxes)})
    return Tiny(
        replace(STANFORD_CARS, classes=10, images=30), truth, {"train": 6, "validation": 1, "test": 3}, 4
    )


def _struct(rows: list[tuple[object, ...]], fields: list[tuple[str, str]]) -> npt.NDArray[np.void]:
    """A MATLAB struct array of one row."""
    array = np.empty((1, len(rows)), fields)
    for number, row in enumerate(rows):
        array[0, number] = row
    return array


def fgvc_aircraft(root: Path) -> Tiny:
    base = root / "fgvc-aircraft-2013b" / "data"
    names = [f"Type {number}-100" for number in range(10)]
    truth: dict[str, list[Pixels]] = {name: [] for name in names}
    base.mkdir(parents=True)
    (base / "variants.txt").write_text("\n".join(names) + "\n")
    for example, part in enumerate(("train", "val", "test")):
        lines = ""
        for number, name in enumerate(names):
            image = f"{1000 * example + number:07}"
            truth[name].append(saved(base / "images" / f"{image}.jpg", colour(number, example)))
            lines += f"{image} {name}\n"
        (base / f"images_variant_{part}.txt").write_text(lines)
    return Tiny(
        replace(FGVC_AIRCRAFT, classes=10, images=30), truth, {"train": 6, "validation": 1, "test": 3}, 4
    )


def domainnet(root: Path) -> Tiny:
    names = [f"thing_{number}" for number in range(10)]
    truth: dict[str, list[Pixels]] = {name: [] for name in names}
    for example, domain in enumerate(DOMAINS):
        lines = ""
        for number, name in enumerate(names):
            file = f"{domain}/{name}/{domain}_{number}.jpg"
            truth[name].append(saved(root / file, colour(number, example)))
            lines += f"{file} {number}\n"
        (root / f"{domain}_train.txt").write_text(lines)
    return Tiny(replace(DOMAIN_NET, classes=10), truth, {"train": 6, "validation": 1, "test": 3}, 4)


MAKERS: dict[str, Callable[[Path], Tiny]] = {
    maker.__name__: maker
    for maker in (
        cifar_100,
        omniglot_folders,
        omniglot_zip,
        casia_hwdb,
        folder,
        imagenet_1k,
        imagenet_r,
        stanford_dogs,
        ms_celeb_1m,
        cub_200_2011,
        stanford_cars,
        fgvc_aircraft,
        domainnet,
    )
}
