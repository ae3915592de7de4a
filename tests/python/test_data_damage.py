"""Damaged, cut, renamed and half-downloaded files of data sets: told by name, never read as other data."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from mambacl.data import Split
from mambacl.data.sets.omniglot import Omniglot, Part
from mambacl.errors import DataError
from tiny_sets import (
    MAKERS,
    Tiny,
    casia_hwdb,
    cifar_100,
    cub_200_2011,
    domainnet,
    fgvc_aircraft,
    folder,
    gnt_record,
    imagenet_1k,
    ms_celeb_1m,
    omniglot_folders,
    omniglot_zip,
    stanford_cars,
    stanford_dogs,
)

SPLITS: tuple[Split, ...] = get_args(Split)


def everything(tiny: Tiny, root: Path) -> list[tuple[str, bytes]]:
    """All examples, as they are read: class and pixels."""
    found: list[tuple[str, bytes]] = []
    for split in SPLITS:
        labelled = tiny.data_set.load(split, root)
        rows = iter(range(len(labelled)))
        for name, count in zip(labelled.names, labelled.examples_per_class.tolist(), strict=True):
            found += [(name, labelled.read(next(rows)).tobytes()) for _ in range(count)]
    return found


def fails(tiny: Tiny, root: Path, told: str) -> None:
    with pytest.raises(DataError, match=told) as error:
        everything(tiny, root)
    assert tiny.data_set.source in str(error.value)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_file_cut_anywhere_is_noticed_or_makes_no_difference(make: Callable[[Path], Tiny]):
    """Of every set a file of every kind of name, cut at any place."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        tiny = make(root)
        whole = everything(tiny, root)
        files = sorted(path for path in root.rglob("*") if path.is_file() and path.suffix != ".md")
        kinds = {path.suffix + path.name * (path.suffix in (".txt", ".mat", ".bin")): path for path in files}

        @given(path=st.sampled_from(sorted(kinds.values())), share=st.floats(0, 1, exclude_max=True))
        @settings(max_examples=20, deadline=None)
        def check(path: Path, share: float) -> None:
            contents = path.read_bytes()
            cut = int(share * len(contents))
            path.write_bytes(contents[:cut])
            told, read = "", list[tuple[str, bytes]]()
            try:
                read = everything(tiny, root)
            except DataError as error:
                told = str(error)
            path.write_bytes(contents)
            # An image's last bytes may say nothing, texts beside a set are none of its files, and the last
            # lines of a list of what must be there are not missed. A .gnt file does not tell its number of
            # records, nor a text how its last line goes on.
            lost = path.suffix == ".gnt" and set(read) < set(whole)
            within = path.suffix == ".txt" and cut > contents.rstrip().rfind(b"\n")
            assert str(root) in told or read == whole or lost or within

        check()


@given(cut=st.integers(1, 200), data=st.data())
@settings(max_examples=50, deadline=None)
def test_the_records_of_a_gnt_file_fill_it(cut: int, data: st.DataObject):
    """Cut at the end, or with a wrong size, width or height in any record."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        tiny = casia_hwdb(root)
        (path,) = root.glob("Gnt1.0Test/*.gnt")
        records = [gnt_record(character, np.full((3, 5), 7, np.uint8)) for character in "一丁七万"]
        contents = b"".join(records)
        path.write_bytes(contents[: max(1, len(contents) - cut)])
        if cut % len(records[0]):
            fails(tiny, root, r"002-f\.gnt breaks off in the record at byte")
        number = data.draw(st.integers(0, 3))
        byte = data.draw(st.sampled_from([0, 1, 2, 3, 6, 7, 8, 9]))
        wrong = bytearray(contents)
        place = number * len(records[0]) + byte
        wrong[place] ^= data.draw(st.integers(1, 255))
        path.write_bytes(wrong)
        fails(tiny, root, r"002-f\.gnt (breaks off|is damaged: the record at byte)")


def test_a_code_that_is_no_character_is_told(tmp_path: Path):
    tiny = casia_hwdb(tmp_path)
    (path,) = tmp_path.glob("Gnt1.0Test/*.gnt")
    path.write_bytes(path.read_bytes().replace("丁".encode("gbk"), b"\x80\xff", 1))
    fails(tiny, tmp_path, "80ff is no character of GBK")


def test_a_writer_missing_or_empty_is_told(tmp_path: Path):
    tiny = casia_hwdb(tmp_path)
    (path,) = tmp_path.glob("Gnt1.0Test/*.gnt")
    path.write_bytes(b"")
    fails(tiny, tmp_path, r"002-f\.gnt is empty")
    path.rename(path.with_suffix(".gnt.part"))
    fails(tiny, tmp_path, r"expected 3 \.gnt files in .*, found 2")


@given(place=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_a_byte_of_an_omniglot_zip_is_noticed_by_its_digest(place: int):
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        tiny = omniglot_zip(root)
        path = root / "images_background_small1.zip"
        contents = bytearray(path.read_bytes())
        assert isinstance(tiny.data_set, Omniglot)
        part = dataclasses.replace(tiny.data_set.background, md5=hashlib.md5(contents).hexdigest())
        checked = dataclasses.replace(tiny, data_set=dataclasses.replace(tiny.data_set, background=part))
        everything(checked, root)
        contents[place] ^= 1
        path.write_bytes(contents)
        fails(checked, root, r"small1\.zip is damaged: its md5 must be [0-9a-f]{32}, got")


def test_a_drawing_damaged_in_a_zip_is_told(tmp_path: Path):
    tiny = omniglot_zip(tmp_path)
    path = tmp_path / "images_background_small1.zip"
    contents = path.read_bytes()
    place = contents.index(b"IDAT") + 9
    path.write_bytes(contents[:place] + bytes([contents[place] ^ 1]) + contents[place + 1 :])
    fails(tiny, tmp_path, r"small1\.zip/Alphabet_0/character01/0001_01\.png is damaged: Bad CRC-32")


def test_a_drawing_or_character_missing_from_omniglot_is_told(tmp_path: Path):
    tiny = omniglot_folders(tmp_path)
    character = tmp_path / "images_background" / "Alphabet_1" / "character02"
    (character / "0102_07.png").unlink()
    fails(tiny, tmp_path, "expected 20 drawings in .*Alphabet_1/character02, found 19")
    for file in character.iterdir():
        file.unlink()
    fails(tiny, tmp_path, "expected 6 characters in .*images_background, found 5")


def test_the_parts_of_omniglot_are_not_taken_for_one_another(tmp_path: Path):
    tiny = omniglot_folders(tmp_path)
    (tmp_path / "images_evaluation").rename(tmp_path / "images_eval")
    fails(tiny, tmp_path, "expected the folder images_evaluation in .*, found images_background, images_eval")
    assert isinstance(tiny.data_set, Omniglot)
    assert tiny.data_set.evaluation == Part("images_evaluation", 4)


def test_cifar_100_is_of_its_size_and_labels(tmp_path: Path):
    tiny = cifar_100(tmp_path)
    folder = tmp_path / "cifar-100-binary"
    train = (folder / "train.bin").read_bytes()
    (folder / "train.bin").write_bytes(train[:-1])
    fails(tiny, tmp_path, r"expected 122,960 bytes in .*train\.bin, found 122,959")
    for label in (200, (train[1] + 1) % 10):  # no label; one image too many of a class
        (folder / "train.bin").write_bytes(train[:1] + bytes([label]) + train[2:])
        fails(tiny, tmp_path, r"train\.bin is damaged: expected 4 images of each class")
    (folder / "train.bin").unlink()
    fails(tiny, tmp_path, r"expected the file .*train\.bin, found none")
    folder.rename(tmp_path / "cifar-100-python")
    fails(tiny, tmp_path, "expected the folder cifar-100-binary in .*, found cifar-100-python")


def test_cifar_100_has_as_many_names_as_classes(tmp_path: Path):
    tiny = cifar_100(tmp_path)
    (tmp_path / "cifar-100-binary" / "fine_label_names.txt").write_text("apple\nbear\n")
    fails(tiny, tmp_path, r"expected 10 names of classes in .*fine_label_names\.txt, found 2")


def test_an_unfinished_empty_or_damaged_image_is_told(tmp_path: Path):
    tiny = folder(tmp_path)
    image = next((tmp_path / "class 3").iterdir())
    contents = image.read_bytes()
    image.write_bytes(b"")
    fails(tiny, tmp_path, f"the image {image} is empty")
    image.write_bytes(b"<html>not found</html>")
    fails(tiny, tmp_path, f"the image {image} is damaged: cannot identify")
    image.write_bytes(contents)
    everything(tiny, tmp_path)
    (tmp_path / "class 3" / "4.png.crdownload").write_bytes(contents[:10])
    fails(tiny, tmp_path, r"4\.png\.crdownload is what a download that broke off leaves")


def test_a_class_without_images_or_a_root_without_classes_is_told(tmp_path: Path):
    tiny = folder(tmp_path / "root")
    (tmp_path / "root" / "class x").mkdir()
    fails(tiny, tmp_path / "root", "expected images in the folder .*class x, found none")
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "1.png").write_bytes(b"")
    fails(tiny, tmp_path / "flat", "expected a folder for each class in .*flat, found none")


def test_too_few_classes_for_three_splits_are_told(tmp_path: Path):
    tiny = ms_celeb_1m(tmp_path)
    for number in range(3, 7):
        for image in (tmp_path / "MS-Celeb-1M" / f"m.0{number}").glob("*_2.jpg"):
            image.unlink()
    fails(tiny, tmp_path, "expected enough classes for all splits, found 3")


@pytest.mark.parametrize(("make", "inside"), [(imagenet_1k, "train"), (stanford_dogs, "Images")])
def test_a_folder_of_another_name_or_an_image_less_is_told(
    make: Callable[[Path], Tiny], inside: str, tmp_path: Path
):
    tiny = make(tmp_path)
    next((tmp_path / inside).rglob("*_1.*")).unlink()
    fails(tiny, tmp_path, "expected 30 images in .*, found 29")
    (tmp_path / inside).rename(tmp_path / "unpacked")
    fails(tiny, tmp_path, f"expected the folder {inside}.* in .*, found .*unpacked")


def test_the_tables_of_cub_fit_together(tmp_path: Path):
    tiny = cub_200_2011(tmp_path)
    base = tmp_path / "CUB_200_2011"
    labels = (base / "image_class_labels.txt").read_text()
    for text, told in (
        (labels.removesuffix("30 10\n"), "expected the same images in .*, found 1 that one of them lacks"),
        (labels.replace("30 10", "30 11"), r"image_class_labels\.txt is damaged: there is no class '11'"),
        (labels.replace("30 10", "thirty"), "expected a number and a value, got 'thirty'"),
    ):
        (base / "image_class_labels.txt").write_text(text)
        fails(tiny, tmp_path, told)
    (base / "image_class_labels.txt").write_bytes(b"1 \xff\n")
    fails(tiny, tmp_path, r"image_class_labels\.txt is damaged: .*utf-8")
    (base / "image_class_labels.txt").write_text(labels)
    image = next((base / "images" / "004.Bird_3").iterdir())
    image.unlink()
    fails(tiny, tmp_path, f"expected the image {image}, found none")


def test_the_tables_of_stanford_cars_are_complete(tmp_path: Path):
    tiny = stanford_cars(tmp_path)
    base = tmp_path / "stanford_cars"
    test = base / "cars_test_annos_withlabels.mat"
    contents = test.read_bytes()
    savemat(test, {"other": np.zeros(3)})
    fails(tiny, tmp_path, r"cars_test_annos_withlabels\.mat is damaged")
    without = np.empty((1, 2), [("fname", "O")])
    without[0, 0], without[0, 1] = ("00001.jpg",), ("00002.jpg",)
    savemat(test, {"annotations": without})  # what the devkit has, before the labels were published
    fails(tiny, tmp_path, "is damaged or lacks the labels")
    test.write_bytes(contents)
    everything(tiny, tmp_path)
    test.unlink()
    fails(tiny, tmp_path, r"expected the file .*cars_test_annos_withlabels\.mat, found none")


def test_the_lists_of_aircraft_name_variants_and_images(tmp_path: Path):
    tiny = fgvc_aircraft(tmp_path)
    base = tmp_path / "fgvc-aircraft-2013b" / "data"
    text = (base / "images_variant_val.txt").read_text()
    (base / "images_variant_val.txt").write_text(text.replace("Type 4-100", "Type 44"))
    fails(tiny, tmp_path, r"images_variant_val\.txt is damaged: there is no variant 'Type 44'")
    (base / "images_variant_val.txt").write_text(text[: text.index("\n") + 1])
    fails(tiny, tmp_path, "expected 30 images in .*, found 21")
    (base / "images_variant_val.txt").write_text(text)
    (base / "images" / "0001004.jpg").unlink()
    fails(tiny, tmp_path, r"expected the image .*0001004\.jpg, found none")


def test_the_images_that_domainnet_lists_are_all_there(tmp_path: Path):
    tiny = domainnet(tmp_path)
    image = next((tmp_path / "sketch" / "thing_3").iterdir())
    (tmp_path / "sketch" / "thing_3" / "more.jpg").write_bytes(image.read_bytes())
    everything(tiny, tmp_path)  # the uncleaned version has more images than the lists
    image.unlink()
    fails(tiny, tmp_path, rf"expected the image {image}, which sketch_train\.txt names, found none")


def latin(name: str) -> str:
    """A name in the bytes of Latin-1, as an old disk or archive has it."""
    return os.fsdecode(name.encode("latin-1"))


def test_bytes_that_are_no_utf_8_in_names_are_read_or_told(tmp_path: Path):
    tiny = folder(tmp_path)
    image = tmp_path / "class 3" / latin("café.png")
    image.write_bytes((tmp_path / "class 3" / "clas_0.png").read_bytes())
    assert len(everything(tiny, tmp_path)) == 31
    image.write_bytes(b"no picture")
    fails(tiny, tmp_path, r"the image .*/class 3/caf\\udce9\.png is damaged")
    image.unlink()
    (tmp_path / latin("café")).mkdir()
    fails(tiny, tmp_path, r"expected folders named in UTF-8, .*, found .*/caf\\udce9\.")


def test_a_message_is_one_line_whatever_a_file_is_called(tmp_path: Path):
    tiny = folder(tmp_path)
    (tmp_path / "class 3" / "two\nlines.png").write_bytes(b"no picture")
    fails(tiny, tmp_path, r"two\\nlines\.png is damaged")


@pytest.mark.parametrize(
    "make", [folder, omniglot_folders, cub_200_2011, casia_hwdb, stanford_cars, cifar_100]
)
@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_has_a_files_name_and_is_none_is_told(make: Callable[[Path], Tiny], kind: str, tmp_path: Path):
    """Each file of a set in turn; a pipe would make a reader wait for ever."""
    tiny = make(tmp_path)
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".md")
    suffixes = {path.suffix + path.name * (path.suffix != path.stem): path for path in files}
    kinds = {
        path.suffix if path.suffix in (".png", ".jpg", ".gnt") else name: path
        for name, path in suffixes.items()
    }
    for path in kinds.values():
        if make is folder and path.suffix == ".txt":
            continue  # none of its files
        contents = path.read_bytes()
        path.unlink()
        path.mkdir() if kind == "folder" else os.mkfifo(path)
        fails(tiny, tmp_path, rf"expected the (file|image) {path}, found a {kind}")
        path.rmdir() if kind == "folder" else path.unlink()
        path.write_bytes(contents)


def test_links_that_lead_to_themselves_are_told(tmp_path: Path):
    tiny = folder(tmp_path)
    (tmp_path / "class 3" / "loop.png").symlink_to("loop.png")
    fails(tiny, tmp_path, r"expected the image .*/loop\.png, found none \(Too many levels")
    (tmp_path / "class 3" / "loop.png").unlink()
    (tmp_path / "class 3" / "again").symlink_to(tmp_path)  # folders within a class are none of it
    assert len(everything(tiny, tmp_path)) == 30
    (tmp_path / "loop").symlink_to("loop")
    fails(tiny, tmp_path, r"/loop cannot be read: Too many levels")


@pytest.mark.parametrize("place", ["/etc/hostname", "../outside.jpg", "a\0.jpg"])
def test_lists_name_images_of_the_set_only(tmp_path: Path, place: str):
    root = tmp_path / "root"
    tiny = cub_200_2011(root)
    (tmp_path / "outside.jpg").write_bytes(next(root.rglob("*.jpg")).read_bytes())
    images = root / "CUB_200_2011" / "images.txt"
    text = images.read_text()
    first = text.split()[1]
    upwards = "../../" if place.startswith("..") else ""
    images.write_text(text.replace(first, upwards + place))
    fails(tiny, root, "its lists name|expected the image .*, found none")


def zip_of(root: Path, change: Callable[[zipfile.ZipInfo, bytes], bytes]) -> Tiny:
    """Omniglot's archive, changed entry by entry."""
    tiny = omniglot_zip(root)
    path = root / "images_background_small1.zip"
    with zipfile.ZipFile(path) as archive:
        entries = [(info, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for info, contents in entries:
            changed = change(info, contents)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, changed)
    return tiny


def test_an_entry_that_unpacks_to_much_is_refused(tmp_path: Path):
    def change(info: zipfile.ZipInfo, contents: bytes) -> bytes:
        return contents + bytes(2 << 20) if info.filename.endswith("01_01.png") else contents

    fails(
        zip_of(tmp_path, change), tmp_path, r"a drawing has 1,048,576 bytes at most, and .* unpacks to 2,09"
    )


def test_entries_that_lead_upwards_are_no_characters(tmp_path: Path):
    def change(info: zipfile.ZipInfo, contents: bytes) -> bytes:
        info.filename = info.filename.replace("Alphabet_2", "..")
        return contents

    fails(zip_of(tmp_path, change), tmp_path, "expected 10 characters in .*, found 8")


def test_an_encrypted_entry_is_told(tmp_path: Path):
    tiny = omniglot_zip(tmp_path)
    path = tmp_path / "images_background_small1.zip"
    contents = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        place = contents.find(signature)
        while place >= 0:
            contents[place + flags] |= 1
            place = contents.find(signature, place + 4)
    path.write_bytes(contents)
    fails(tiny, tmp_path, r"the image .*\.png is damaged: .*encrypted")
