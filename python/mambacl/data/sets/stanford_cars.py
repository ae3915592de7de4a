"""Stanford Cars, whose labels are in MATLAB's files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy.io import loadmat

from mambacl.data.sets.image_files import ImageFiles


@dataclass(frozen=True)
class StanfordCars(ImageFiles):
    """Cars by make, model and year (Krause et al., 2013), in the layout that torchvision reads; its training
    and test images are pooled."""

    def files(self, root: Path) -> dict[str, list[Path]]:
        """The images of each class, by the name that cars_meta.mat gives it."""
        folder = self.folder(root, "stanford_cars")
        devkit = self.folder(folder, "devkit")
        names = [str(name) for name in self._read(devkit / "cars_meta.mat", "class_names")]
        found: dict[str, list[Path]] = {name: [] for name in names}
        for path, images in (
            (devkit / "cars_train_annos.mat", "cars_train"),
            (folder / "cars_test_annos_withlabels.mat", "cars_test"),
        ):
            for annotation in self._read(path, "annotations"):
                try:
                    label, file = int(annotation["class"]), str(annotation["fname"])
                except (ValueError, TypeError, KeyError, IndexError) as error:
                    raise self.missing(f"the file {path} is damaged or lacks the labels: {error}") from error
                if not 1 <= label <= len(names):
                    raise self.missing(f"the file {path} is damaged: there is no class {label}")
                found[names[label - 1]].append(folder / images / file)
        return found

    def _read(self, path: Path, variable: str) -> Sequence[Any]:
        """A variable of a file, a list."""
        self.check_file(path)
        try:
            return loadmat(path, squeeze_me=True)[variable].ravel()
        except MemoryError:
            raise
        except Exception as error:  # a damaged file makes scipy raise all sorts
            raise self.missing(f"the file {path} is damaged: {error}") from error


STANFORD_CARS = StanfordCars(
    name="stanford-cars",
    kind="images",
    summary="Stanford Cars, 196 makes and models; training and test pooled, split by hash, 117/20/59",
    source=(
        "Its authors' address is gone; mirrors have the files of "
        "https://ai.stanford.edu/~jkrause/cars/car_dataset.html. Lay them out as torchvision reads them: "
        "ROOT/stanford_cars/cars_train/*.jpg, cars_test/*.jpg, cars_test_annos_withlabels.mat, "
        "devkit/cars_meta.mat, devkit/cars_train_annos.mat."
    ),
    classes=196,
    images=16_185,
)
