"""Examples of classes as they are found: pictures or texts, before a learner's encoder has seen them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from mambacl.errors import InvalidValueError, ShapeError

Raw = TypeVar("Raw")


@dataclass(frozen=True, eq=False)
class Labelled(Generic[Raw]):
    """Examples of classes, those of one class behind one another, each read when it is asked for.

    Attributes:
        key: Names the contents: another key for other examples, another order, another version of the
            files. What is computed of the examples is kept under it.
        names: Name of each class.
        examples_per_class: (classes,) int64.
        read: The example of a row, 0 to below `len(self)`; raises `DataError` if its file is damaged.
        domains: Which of `domain_names` each example is of, (n,) int64; None if all are of one.
        domain_names: Typefaces, designs, writers, styles.

    Raises:
        ShapeError: If the attributes do not fit to one another.

    Examples:
        >>> texts = ["a small dog", "a large dog", "an old oak"]
        >>> labelled = Labelled("demo-1", ("dog", "oak"), torch.tensor([2, 1]), texts.__getitem__)
        >>> len(labelled), labelled.read(2)
        (3, 'an old oak')
    """

    key: str
    names: tuple[str, ...]
    examples_per_class: Tensor
    read: Callable[[int], Raw]
    domains: Tensor | None = None
    domain_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.examples_per_class.shape != (len(self.names),):
            raise ShapeError(
                f"Labelled: `examples_per_class` must have shape ({len(self.names)},), as `names`, got "
                f"{tuple(self.examples_per_class.shape)}"
            )
        if self.domains is not None and self.domains.shape != (len(self),):
            raise ShapeError(
                f"Labelled: `domains` must have shape ({len(self)},), got {tuple(self.domains.shape)}"
            )

    def __len__(self) -> int:
        """The number of examples."""
        return int(self.examples_per_class.sum())

    def only(self, domains: Collection[str]) -> Labelled[Raw]:
        """The examples of some domains; classes without any are left out.

        Args:
            domains: Names.

        Returns:
            The same order, under a key of its own.

        Raises:
            InvalidValueError: If there is no such domain, or no example of them.
        """
        number, names = self.of_domains()
        for name in domains:
            if name not in names or self.domains is None:
                known = ", ".join(self.domain_names) or "none"
                raise InvalidValueError(
                    f"Labelled.only: `domains` must be among those of the examples ({known}), got {name!r}"
                )
        wanted = [position for position, name in enumerate(names) if name in domains]
        rows = torch.isin(number, torch.tensor(wanted)).nonzero()[:, 0]
        if not len(rows):
            raise InvalidValueError(f"Labelled.only: there are no examples of the domains {list(domains)}")
        owner = torch.arange(len(self.names)).repeat_interleave(self.examples_per_class)
        kept, counts = owner[rows].unique_consecutive(return_counts=True)
        chosen: list[int] = rows.tolist()
        return Labelled(
            f"{self.key}-{'+'.join(names[position] for position in wanted)}",
            tuple(self.names[position] for position in kept.tolist()),
            counts,
            lambda row: self.read(chosen[row]),
            number[rows],
            self.domain_names,
        )

    def of_domains(self) -> tuple[Tensor, tuple[str, ...]]:
        """The domain of each example, (n,) int64, and their names; one nameless where there are none."""
        if self.domains is None:
            return torch.zeros(len(self), dtype=torch.int64), ("",)
        return self.domains, self.domain_names
