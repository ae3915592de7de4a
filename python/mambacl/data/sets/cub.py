"""CUB-200-2011: birds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mambacl.data.sets.image_files import ImageFiles


@dataclass(frozen=True)
class Cub(ImageFiles):
    """Caltech-UCSD Birds (Wah et al., 2011); text files tell the class of each image."""

    def files(self, root: Path) -> dict[str, list[Path]]:
        """The images of each class, by the name that classes.txt gives it."""
        folder = self.folder(root, "CUB_200_2011")
        names = self._table(folder / "classes.txt")
        labels_file = folder / "image_class_labels.txt"
        labels = self._table(labels_file)
        images = self._table(folder / "images.txt")
        if labels.keys() != images.keys():
            raise self.missing(
                f"expected the same images in images.txt and image_class_labels.txt of {folder}, found "
                f"{len(labels.keys() ^ images.keys()):,} that one of them lacks"
            )
        found: dict[str, list[Path]] = {name: [] for name in names.values()}
        for image, path in images.items():
            if labels[image] not in names:
                raise self.missing(f"the file {labels_file} is damaged: there is no class {labels[image]!r}")
            found[names[labels[image]]].append(folder / "images" / path)
        return found

    def _table(self, path: Path) -> dict[str, str]:
        """A line is a number and what it stands for."""
        table: dict[str, str] = {}
        for line in self.text(path).splitlines():
            number, space, value = line.partition(" ")
            if not space or not number.isdecimal():
                raise self.missing(f"the file {path} is damaged: expected a number and a value, got {line!r}")
            table[number] = value.strip()
        return table


CUB_200_2011 = Cub(
    name="cub-200-2011",
    kind="images",
    summary="CUB-200-2011, 200 species of birds; split by hash, 120/20/60",
    source=(
        "Get CUB_200_2011.tgz (md5 97eceeb196236b17998738112f37df78) from "
        "https://data.caltech.edu/records/65de6-vp158 and unpack it: ROOT/CUB_200_2011/images.txt, "
        "classes.txt, image_class_labels.txt, images/001.Black_footed_Albatross/*.jpg and so on."
    ),
    classes=200,
    images=11_788,
)
