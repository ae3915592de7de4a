"""Images sorted by class, so that an example is found by index arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class ImageClasses:
    """Images in memory, those of one class behind one another.

    Example `e` of class `c` is `images[offsets[c] + e]`, for `e < examples_per_class[c]`.

    Attributes:
        images: Grey levels 0 (background) to `max_level` (ink), (n, channels, height, width) uint8.
        examples_per_class: (classes,) int64, sums to n.
        names: Name of each class; for characters, the character.
        faces: Which of `face_names` drew each image, (n,) int64.
        face_names: Names of the typefaces (or designs, or writers).
        max_level: The largest value an image can hold.

    Example:
        >>> import torch
        >>> from mambacl.data import hanzi21
        >>> classes = hanzi21.load("validation")
        >>> len(classes), classes.names[0], tuple(classes.images.shape[1:])
        (363, '丁', (1, 32, 32))
        >>> classes.gather(torch.tensor([0, 0, 7]), torch.tensor([0, 1, 19])).shape
        torch.Size([3, 1, 32, 32])
    """

    images: Tensor
    examples_per_class: Tensor
    names: tuple[str, ...]
    faces: Tensor
    face_names: tuple[str, ...]
    max_level: int

    def __len__(self) -> int:
        """The number of classes."""
        return len(self.names)

    @property
    def offsets(self) -> Tensor:
        """Where each class begins in `images`, (classes,) int64."""
        return self.examples_per_class.cumsum(0) - self.examples_per_class

    def gather(self, classes: Tensor, examples: Tensor) -> Tensor:
        """The images of pairs (class, example).

        Args:
            classes: Class of each image, (k,) int64.
            examples: Index within the class, (k,) int64.

        Returns:
            (k, channels, height, width) uint8.
        """
        return self.images[self.offsets[classes] + examples]
