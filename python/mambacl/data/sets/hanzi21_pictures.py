"""hanzi21 as a data set: its images as pictures, for encoders that take any picture."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from mambacl.data import hanzi21
from mambacl.data.sets.data_set import DataSet
from mambacl.data.sets.labelled import Labelled
from mambacl.data.splits import Split


class Hanzi21(DataSet):
    """Characters in rendered typefaces; see `mambacl.data.hanzi21`."""

    def __init__(self) -> None:
        super().__init__(
            name="hanzi21",
            kind="images",
            summary="3,563 Chinese characters in 20 or 21 rendered typefaces, 32 x 32 grey; split by hash",
            ink=True,
        )

    def _load(self, split: Split, root: Path | None) -> Labelled[Image.Image]:
        del root  # packaged
        classes = hanzi21.load(split)
        levels = 255 // classes.max_level

        def read(row: int) -> Image.Image:
            return Image.fromarray((255 - classes.images[row, 0] * levels).numpy())  # dark ink on white

        return Labelled(
            f"hanzi21-{split}-{hanzi21.sha256()[:16]}",
            classes.names,
            classes.examples_per_class,
            read,
            classes.domains,
            classes.domain_names,
        )
