"""Frozen features sorted by class: several views of each image, of which an episode shows one."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from mambacl.data.classes import rows
from mambacl.errors import DtypeError, InvalidValueError, ShapeError


@dataclass(frozen=True, eq=False)
class FeatureClasses:
    """Feature vectors of images, those of one class behind one another, each image in several views.

    An example of a class is an image, so an episode never shows two views of one image: which one it
    shows is drawn with the episode. For characters, the stream and the queries share no typeface of a
    character.

    Attributes:
        features: (n, views, dim), float16 or float32; may be memory-mapped.
        examples_per_class: (classes,) int64, sums to n.
        names: Name of each class; for characters, the character.
        domains: Which of `domain_names` each image is of, (n,) int64.
        domain_names: Typefaces, designs, writers, styles.

    Raises:
        ShapeError: If `features` is not three-dimensional, or the other attributes do not fit to it.
        DtypeError: If `features` is neither float16 nor float32.

    Examples:
        >>> classes = FeatureClasses(
        ...     features=torch.arange(12.0).view(3, 2, 2),  # three images in two views
        ...     examples_per_class=torch.tensor([2, 1]),
        ...     names=("one", "two"),
        ...     domains=torch.tensor([0, 1, 0]),
        ...     domain_names=("brush", "print"),
        ... )
        >>> pair = torch.tensor([0, 1]), torch.tensor([1, 0])
        >>> classes.inputs(*pair, uniforms=torch.tensor([[0.2], [0.7]]))
        tensor([[ 4.,  5.],
                [10., 11.]])
    """

    features: Tensor
    examples_per_class: Tensor
    names: tuple[str, ...]
    domains: Tensor
    domain_names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.features.ndim != 3 or 0 in self.features.shape[1:]:
            raise ShapeError(
                "FeatureClasses: `features` must have shape (images, views, dim), "
                f"got {tuple(self.features.shape)}"
            )
        if self.features.dtype not in (torch.float16, torch.float32):
            raise DtypeError(
                f"FeatureClasses: `features` must be float16 or float32, got {self.features.dtype}"
            )
        images, classes = len(self.features), len(self.names)
        if self.examples_per_class.shape != (classes,) or int(self.examples_per_class.sum()) != images:
            raise ShapeError(
                f"FeatureClasses: `examples_per_class` must hold {classes} numbers that sum to {images}, got "
                f"shape {tuple(self.examples_per_class.shape)} and sum {int(self.examples_per_class.sum())}"
            )
        if self.domains.shape != (images,):
            raise ShapeError(
                f"FeatureClasses: `domains` must have shape ({images},), got {tuple(self.domains.shape)}"
            )

    def __len__(self) -> int:
        """The number of classes."""
        return len(self.names)

    @property
    def views(self) -> int:
        """Views of each image."""
        return self.features.shape[1]

    @property
    def dim(self) -> int:
        """Numbers in a feature vector."""
        return self.features.shape[2]

    @property
    def uniforms_per_example(self) -> int:
        """One: it chooses the view."""
        return 1

    def inputs(self, classes: Tensor, examples: Tensor, uniforms: Tensor) -> Tensor:
        """One view each of pairs (class, example).

        Args:
            classes: Class of each image, (k,) int64.
            examples: Index within the class, (k,) int64.
            uniforms: Numbers in [0, 1), (k, 1); `u` shows view `floor(u * views)`.

        Returns:
            (k, dim) float32.
        """
        view = (uniforms[:, 0].double() * self.views).long()
        return self.features[rows(self.examples_per_class, classes, examples), view].float()

    def only(self, domains: Collection[str]) -> FeatureClasses:
        """The images of some domains only; a class that has none of them is left out.

        Args:
            domains: Names among `domain_names`.

        Returns:
            Features that are a copy.

        Raises:
            InvalidValueError: If a name is unknown, or there is none.

        Examples:
            >>> classes = FeatureClasses(
            ...     features=torch.arange(6.0).view(3, 1, 2),
            ...     examples_per_class=torch.tensor([2, 1]),
            ...     names=("one", "two"),
            ...     domains=torch.tensor([0, 1, 0]),
            ...     domain_names=("brush", "print"),
            ... )
            >>> printed = classes.only(["print"])
            >>> printed.names, printed.examples_per_class, printed.features
            (('one',), tensor([1]), tensor([[[2., 3.]]]))
        """
        unknown = [name for name in domains if name not in self.domain_names]
        if unknown or not domains:
            raise InvalidValueError(
                f"FeatureClasses.only: `domains` must name some of {', '.join(self.domain_names)}, got "
                f"{unknown[0] if unknown else 'none'!r}"
            )
        wanted = torch.tensor([number for number, name in enumerate(self.domain_names) if name in domains])
        kept = torch.isin(self.domains, wanted)
        of_class = torch.arange(len(self)).repeat_interleave(self.examples_per_class)
        counts = torch.bincount(of_class[kept], minlength=len(self))
        return dataclasses.replace(
            self,
            features=self.features[kept],
            examples_per_class=counts[counts > 0],
            names=tuple(name for name, count in zip(self.names, counts.tolist(), strict=True) if count),
            domains=self.domains[kept],
        )
