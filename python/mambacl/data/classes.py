"""What episodes are drawn from: classes of numbered examples, whatever an example is."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Classes(Protocol):
    """Classes with a number of examples each, as inputs of a learner.

    Randomness comes from outside: whoever draws an episode also gives the numbers that jitter, or choose a
    view of, each example. So classes hold no generator, and an episode is a pure function of its index.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each class, one for each."""
        ...

    @property
    def examples_per_class(self) -> Tensor:
        """Number of examples of each class, (classes,) int64."""
        ...

    @property
    def uniforms_per_example(self) -> int:
        """How many uniform numbers `inputs` uses for one example; 0 if it is not random."""
        ...

    def inputs(self, classes: Tensor, examples: Tensor, uniforms: Tensor) -> Tensor:
        """The inputs of pairs (class, example), each a function of its own pair and numbers alone.

        Args:
            classes: Class of each, (k,) int64.
            examples: Index within the class, (k,) int64.
            uniforms: Numbers in [0, 1), (k, uniforms_per_example) float32.

        Returns:
            (k, ...) float32.
        """
        ...


def rows(examples_per_class: Tensor, classes: Tensor, examples: Tensor) -> Tensor:
    """Rows of pairs (class, example) in a table that holds the examples of a class behind one another.

    Args:
        examples_per_class: (classes,) int64.
        classes: Class of each pair, (k,) int64.
        examples: Index within the class, (k,) int64.

    Returns:
        (k,) int64.

    Examples:
        >>> import torch
        >>> rows(torch.tensor([3, 2]), torch.tensor([0, 1, 1]), torch.tensor([2, 0, 1]))
        tensor([2, 3, 4])
    """
    offsets = examples_per_class.cumsum(0) - examples_per_class
    return offsets[classes] + examples
