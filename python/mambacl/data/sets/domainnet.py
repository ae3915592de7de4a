"""DomainNet: the same classes in six styles of pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mambacl.data.sets.image_folder import ImageFolderSet

DOMAINS = ("clipart", "infograph", "painting", "quickdraw", "real", "sketch")


@dataclass(frozen=True)
class DomainNet(ImageFolderSet):
    """DomainNet (Peng et al., arXiv:1812.01754): six folders of class folders.

    A class has its images of all six, domain after domain. Where the lists of a domain's images are there, as
    its authors give them, all images they name must be, too.
    """

    @property
    def domains(self) -> tuple[str, ...]:
        """The six styles."""
        return DOMAINS

    def domain(self, path: Path, root: Path) -> int:
        """The folder that an image is in."""
        return DOMAINS.index(path.relative_to(root).parts[0])

    def files(self, root: Path) -> dict[str, list[Path]]:
        """The images of each class, of all domains."""
        found: dict[str, list[Path]] = {}
        for domain in DOMAINS:
            for name, images in self.class_folders(self.folder(root, domain)).items():
                found.setdefault(name, []).extend(images)
        there = {path for paths in found.values() for path in paths}
        for domain in DOMAINS:
            for part in ("train", "test"):
                self._check_list(root, root / f"{domain}_{part}.txt", there)
        return {name: found[name] for name in sorted(found)}

    def _check_list(self, root: Path, path: Path, there: set[Path]) -> None:
        """A line is a path below the root and a number of a class."""
        if not path.is_file():
            return
        for line in self.text(path).splitlines():
            image = root / line.rpartition(" ")[0]
            if image not in there:
                raise self.missing(f"expected the image {image}, which {path.name} names, found none")


DOMAIN_NET = DomainNet(
    name="domainnet",
    kind="images",
    summary="DomainNet, 345 classes in six styles (domains); split by hash, 207/34/104",
    source=(
        "Get clipart.zip, infograph.zip, painting.zip, quickdraw.zip, real.zip and sketch.zip from "
        "https://ai.bu.edu/M3SDA and unpack them: ROOT/clipart/aircraft_carrier/*.jpg and so on. Beside the "
        "six folders put the lists of images, clipart_train.txt and so on: what they name must be there."
    ),
    classes=345,
)
