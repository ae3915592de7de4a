"""Sets of a folder for each class: any of your own, and those of the literature that come so."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mambacl.data.sets.image_files import ImageFiles
from mambacl.data.splits import HeldOut

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
"""Of files that are taken for images, in any case of letters."""

_UNFINISHED = (".part", ".partial", ".crdownload", ".download", ".tmp", ".aria2")


@dataclass(frozen=True)
class ImageFolderSet(ImageFiles):
    """A folder of class folders, each with the images of its class, as torchvision's `ImageFolder` has it.

    Classes are split by a hash of their folders' names.

    Attributes:
        inside: Where the class folders lie below the root: the first of these that is there.
        least: Images a class needs to be taken; those with fewer are left out.
    """

    inside: tuple[str, ...] = ("",)
    least: int = 1

    def files(self, root: Path) -> dict[str, list[Path]]:
        """The images of each class folder."""
        return {
            name: images
            for name, images in self.class_folders(self.folder(root, *self.inside)).items()
            if len(images) >= self.least
        }

    def class_folders(self, folder: Path) -> dict[str, list[Path]]:
        """The images of each folder in a folder, by its name; names and images in order.

        Raises:
            DataError: If there is no class folder, one without an image or with a name that is no UTF-8, or
                a file that a download left unfinished.
        """
        found: dict[str, list[Path]] = {}
        for name in sorted(self._folders(folder)):
            if any("\ud800" <= each <= "\udfff" for each in name):  # how Python keeps such bytes
                raise self.missing(
                    f"expected folders named in UTF-8, as classes are called so, found {folder / name}"
                )
            found[name] = self._images(folder / name)
            if not found[name]:
                raise self.missing(f"expected images in the folder {folder / name}, found none")
        if not found:
            raise self.missing(f"expected a folder for each class in {folder}, found none")
        return found

    def _images(self, folder: Path) -> list[Path]:
        names = sorted(entry.name for entry in self._entries(folder))
        for name in names:
            if name.lower().endswith(_UNFINISHED):
                raise self.missing(f"the file {folder / name} is what a download that broke off leaves")
        return [folder / name for name in names if name.lower().endswith(SUFFIXES)]

    def _folders(self, folder: Path) -> list[str]:
        found: list[str] = []
        for entry in self._entries(folder):
            try:
                if entry.is_dir():
                    found.append(entry.name)
            except OSError as error:  # such as a link that leads to itself
                raise self.missing(f"{folder / entry.name} cannot be read: {error.strerror}") from error
        return found

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        """What is in a folder and not hidden."""
        try:
            with os.scandir(folder) as entries:
                return [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            raise self.missing(f"the folder {folder} cannot be read: {error.strerror}") from error


FOLDER = ImageFolderSet(
    name="folder",
    kind="images",
    summary="any folder of class folders of images; split by hash, 60/10/30 %",
    source=(
        "Lay it out as ROOT/CLASS/IMAGE: a folder for each class, named as the class is, with its images "
        f"({', '.join(SUFFIXES)})."
    ),
)

IMAGENET_1K = ImageFolderSet(
    name="imagenet-1k",
    kind="images",
    summary="ImageNet-1K, 1,000 classes, the training images of ILSVRC2012; split by hash, 600/100/300",
    source=(
        "Get ILSVRC2012_img_train.tar from https://image-net.org (an account is needed), unpack it, and "
        "unpack the archive of each class into a folder of its name: ROOT/train/n01440764/*.JPEG and so on."
    ),
    inside=("train", "ILSVRC/Data/CLS-LOC/train"),
    classes=1000,
    images=1_281_167,
)

IMAGENET_R = ImageFolderSet(
    name="imagenet-r",
    kind="images",
    summary="ImageNet-R (arXiv:2006.16241), renditions of 200 classes of ImageNet; split by hash, 120/20/60",
    source=(
        "Get imagenet-r.tar from https://github.com/hendrycks/imagenet-r and unpack it: "
        "ROOT/imagenet-r/n01443537/*.jpg and so on."
    ),
    inside=("imagenet-r",),
    classes=200,
    images=30_000,
)

STANFORD_DOGS = ImageFolderSet(
    name="stanford-dogs",
    kind="images",
    summary="Stanford Dogs, 120 breeds; split by hash, 72/12/36",
    source=(
        "Get images.tar from http://vision.stanford.edu/aditya86/ImageNetDogs and unpack it: "
        "ROOT/Images/n02085620-Chihuahua/*.jpg and so on."
    ),
    inside=("Images",),
    classes=120,
    images=20_580,
)

MS_CELEB_1M = ImageFolderSet(
    name="ms-celeb-1m",
    kind="images",
    summary="MS-Celeb-1M, faces: identities with 20 images or more, 1,000 of them for meta-test, by hash",
    source=(
        "Its authors have withdrawn it; whoever has the aligned faces lays them out as "
        "ROOT/MS-Celeb-1M/m.01abc/*.jpg, a folder for each identity."
    ),
    inside=("MS-Celeb-1M", "ms-celeb-1m"),
    least=20,
    held_out=HeldOut(validation=1000, test=1000),
)
"""That classes have 20 images or more, and that 1,000 are for meta-test, is CL-as-Seq's (arXiv:2310.11952);
which ones is ours, and so are the 1,000 that are held out of the rest for meta-validation."""
