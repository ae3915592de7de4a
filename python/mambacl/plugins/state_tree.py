"""States of plug-ins: tensors in tuples, lists, dicts and dataclasses, flattened and put together again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor

Tree: TypeAlias = Any
"""A tensor, or a tuple, list, dict or dataclass of trees."""


@dataclass(frozen=True)
class Structure:
    """What a state is made of.

    Attributes:
        kind: The type of the container; `Tensor` for a tensor.
        keys: Of its parts, in order.
        parts: What they are made of.
    """

    kind: type[Any]
    keys: tuple[Any, ...] = ()
    parts: tuple[Structure, ...] = ()

    @staticmethod
    def of(tree: Tree, name: str = "state") -> Structure:
        """The structure of a state.

        Args:
            tree: The state.
            name: What it is called in messages.

        Raises:
            TypeError: If there is something else than tensors in it, or a key of a dict is no text.
        """
        if isinstance(tree, Tensor):
            return Structure(Tensor)
        keys = _keys(tree)
        if keys is None:
            raise TypeError(
                f"`{name}` must be a tensor, or a tuple, list, dict or dataclass of tensors, "
                f"got {type(tree).__name__}"
            )
        for key in keys:
            if isinstance(tree, dict) and not isinstance(key, str):
                raise TypeError(f"`{name}` must have texts as keys, got {key!r}")
        parts = tuple(Structure.of(_part(tree, key), f"{name}.{key}") for key in keys)
        return Structure(type(tree), keys, parts)

    def names(self, prefix: str = "") -> list[str]:
        """The name of each tensor: the keys on the way to it, behind dots; "state" for a tensor alone."""
        if self.kind is Tensor:
            return [prefix or "state"]
        pairs = zip(self.keys, self.parts, strict=True)
        return [name for key, part in pairs for name in part.names(f"{prefix}.{key}".lstrip("."))]

    def flat(self, tree: Tree, name: str = "state") -> list[Tensor]:
        """The tensors of a state of this structure.

        Raises:
            TypeError: If the state is of another structure; with the first place that differs.
        """
        if self.kind is Tensor:
            if not isinstance(tree, Tensor):
                raise TypeError(f"`{name}` must be a tensor, got {type(tree).__name__}")
            return [tree]
        keys = _keys(tree) if type(tree) is self.kind else None
        if keys is None:
            raise TypeError(f"`{name}` must be of type {self.kind.__name__}, got {type(tree).__name__}")
        if set(keys) != set(self.keys):
            raise TypeError(f"`{name}` must have the parts {_shown(self.keys)}, got {_shown(keys)}")
        pairs = zip(self.keys, self.parts, strict=True)
        return [tensor for key, part in pairs for tensor in part.flat(_part(tree, key), f"{name}.{key}")]

    def tree(self, tensors: Iterator[Tensor]) -> Tree:
        """A state of this structure.

        Args:
            tensors: In the order of `names`.
        """
        if self.kind is Tensor:
            return next(tensors)
        parts = [part.tree(tensors) for part in self.parts]
        if dataclasses.is_dataclass(self.kind):
            return self.kind(**dict(zip(self.keys, parts, strict=True)))
        if issubclass(self.kind, dict):
            return dict(zip(self.keys, parts, strict=True))
        return self.kind(*parts) if hasattr(self.kind, "_fields") else self.kind(parts)


def _keys(tree: Tree) -> tuple[Any, ...] | None:
    """The keys of the parts of a container; None for what is none."""
    kind: type[Any] = type(tree)
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    if kind is dict:
        return tuple(tree)
    if kind in (tuple, list):
        return tuple(range(len(tree)))
    return tuple(tree._fields) if issubclass(kind, tuple) and hasattr(kind, "_fields") else None


def _part(tree: Tree, key: Any) -> Tree:
    return tree[key] if isinstance(tree, dict) or isinstance(key, int) else getattr(tree, key)


def _shown(keys: tuple[Any, ...]) -> str:
    return ", ".join(map(str, keys)) or "none"
