"""Images sorted by class, so that an example is found by index arithmetic."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mambacl.data.classes import rows
from mambacl.data.jitter import AffineJitter


@dataclass(frozen=True, eq=False)
class ImageClasses:
    """Images in memory, those of one class behind one another.

    Example `e` of class `c` is image `examples_per_class[:c].sum() + e`, for `e < examples_per_class[c]`.

    Attributes:
        images: Grey levels 0 (background) to `max_level` (ink), (n, channels, height, width) uint8.
        examples_per_class: (classes,) int64, sums to n.
        names: Name of each class; for characters, the character.
        domains: Which of `domain_names` each image is of, (n,) int64.
        domain_names: Typefaces, designs, writers, styles.
        max_level: The largest value an image can hold.
        jitter: Applied to each image that becomes an input, with its own amounts; None for none.

    Examples:
        >>> import torch
        >>> from mambacl.data import hanzi21
        >>> classes = hanzi21.load("validation")
        >>> len(classes), classes.names[0], tuple(classes.images.shape[1:])
        (363, '丁', (1, 32, 32))
        >>> classes.inputs(torch.tensor([0, 0, 7]), torch.tensor([0, 1, 19]), torch.empty(3, 0)).shape
        torch.Size([3, 1, 32, 32])
    """

    images: Tensor
    examples_per_class: Tensor
    names: tuple[str, ...]
    domains: Tensor
    domain_names: tuple[str, ...]
    max_level: int
    jitter: AffineJitter | None = None

    def __len__(self) -> int:
        """The number of classes."""
        return len(self.names)

    @property
    def uniforms_per_example(self) -> int:
        """Numbers that jitter one image; 0 without jitter."""
        return 0 if self.jitter is None else AffineJitter.UNIFORMS

    def inputs(self, classes: Tensor, examples: Tensor, uniforms: Tensor) -> Tensor:
        """The images of pairs (class, example), jittered.

        Args:
            classes: Class of each image, (k,) int64.
            examples: Index within the class, (k,) int64.
            uniforms: Numbers in [0, 1), (k, uniforms_per_example) float32.

        Returns:
            (k, channels, height, width) float32, from -1 (background) to 1 (ink).
        """
        return self.render(rows(self.examples_per_class, classes, examples), uniforms)

    def render(self, numbers: Tensor, uniforms: Tensor) -> Tensor:
        """Images by their numbers, jittered.

        Args:
            numbers: Rows of `images`, (k,) int64.
            uniforms: Numbers in [0, 1), (k, uniforms_per_example) float32.

        Returns:
            (k, channels, height, width) float32, from -1 (background) to 1 (ink).
        """
        levels = self.images[numbers].float()
        if self.jitter is not None:
            levels = self.jitter(levels, uniforms)
        return levels * (2 / self.max_level) - 1

    def select(self, classes: Sequence[int]) -> ImageClasses:
        """Some of the classes, in the order given.

        Args:
            classes: Their positions, distinct.

        Returns:
            Classes whose images are copies.

        Examples:
            >>> from mambacl.data import hanzi21
            >>> hanzi21.load("validation").select([2, 0]).names
            ('下', '丁')
        """
        chosen = torch.tensor(classes, dtype=torch.int64)
        counts = self.examples_per_class[chosen]
        examples = torch.cat([torch.arange(n) for n in counts.tolist()])
        kept = rows(self.examples_per_class, chosen.repeat_interleave(counts), examples)
        return dataclasses.replace(
            self,
            images=self.images[kept],
            examples_per_class=counts,
            names=tuple(self.names[c] for c in classes),
            domains=self.domains[kept],
        )
