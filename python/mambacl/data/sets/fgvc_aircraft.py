"""FGVC-Aircraft: aeroplanes by variant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mambacl.data.sets.image_files import ImageFiles


@dataclass(frozen=True)
class FgvcAircraft(ImageFiles):
    """Aircraft (Maji et al., arXiv:1306.5151), a class for each variant; the parts train, val and test are
    pooled."""

    def files(self, root: Path) -> dict[str, list[Path]]:
        """The images of each variant."""
        folder = self.folder(root, "fgvc-aircraft-2013b/data", "data")
        found: dict[str, list[Path]] = {name: [] for name in self.text(folder / "variants.txt").splitlines()}
        for part in ("train", "val", "test"):
            path = folder / f"images_variant_{part}.txt"
            for line in self.text(path).splitlines():
                image, _, variant = line.partition(" ")
                if variant not in found:
                    raise self.missing(
                        f"the file {path} is damaged: there is no variant {variant!r}, in {line!r}"
                    )
                found[variant].append(folder / "images" / f"{image}.jpg")
        return found


FGVC_AIRCRAFT = FgvcAircraft(
    name="fgvc-aircraft",
    kind="images",
    summary="FGVC-Aircraft, 100 variants of 100 images; train, val and test pooled, split by hash, 60/10/30",
    source=(
        "Get fgvc-aircraft-2013b.tar.gz from https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft and unpack "
        "it: ROOT/fgvc-aircraft-2013b/data/variants.txt, images_variant_train.txt, images/*.jpg and so on."
    ),
    classes=100,
    images=10_000,
)
