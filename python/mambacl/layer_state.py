"""What a layer remembers of its streams: tensors by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

GROWS = -1
"""In the shape of a tensor of a state: an axis with one entry for each token read."""


@dataclass(frozen=True)
class LayerSpec:
    """What a layer's state is made of, as the engine declares it.

    Attributes:
        kind: The kind of the layer's mixer, or of a learner without mixers.
        names: The names of the tensors.
        shapes: Their axes after the batch; -1 for an axis with one entry for each token read.
        uses_positions: Whether the layer's tokens have positions in the stream.
    """

    kind: str
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    uses_positions: bool = False

    @property
    def grows(self) -> bool:
        """Whether the state grows with what is read."""
        return any(GROWS in shape for shape in self.shapes)


class LayerState:
    """What a layer remembers of its streams. Its tensors are attributes, by the names that the engine has for
    them; they are also items, in order. Each has the streams as its first axis.

    Args:
        spec: What the state is made of.
        tensors: The tensors, in the order of `spec.names`.

    Examples:
        >>> from mambacl import Learner, SequenceConfig, VectorEncoder
        >>> layer = Learner(SequenceConfig(VectorEncoder(dim=8), d_model=32)).init_state().layers[0]
        >>> layer
        LayerState(mamba: conv_window (1, 64, 3), ssm_state (1, 64, 16))
        >>> layer.ssm_state.shape, len(layer)
        (torch.Size([1, 64, 16]), 2)
    """

    __slots__ = ("_tensors", "spec")

    def __init__(self, spec: LayerSpec, tensors: Iterable[Tensor]) -> None:
        self.spec = spec
        self._tensors = tuple(tensors)
        if len(self._tensors) != len(spec.names):
            raise ValueError(
                f"LayerState: `tensors` must be {len(spec.names)}, {', '.join(spec.names)}, got {len(self)}"
            )

    def __getattr__(self, name: str) -> Tensor:
        if name.startswith("_") or name == "spec":  # asked for before they are set
            raise AttributeError(name)
        if name in self.spec.names:
            return self._tensors[self.spec.names.index(name)]
        raise AttributeError(f"a state of {self.spec.kind} has {', '.join(self.spec.names)}, got {name!r}")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.spec.names]

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __getitem__(self, index: int) -> Tensor:
        return self._tensors[index]

    def replace(self, **tensors: Tensor) -> LayerState:
        """The same state with other tensors.

        Args:
            tensors: By name.

        Raises:
            AttributeError: If the state has no tensor of a name.
        """
        for name in tensors:
            getattr(self, name)
        own = dict(zip(self.spec.names, self, strict=True))
        return LayerState(self.spec, {**own, **tensors}.values())

    def __repr__(self) -> str:
        """Without the numbers."""
        parts = (f"{name} {tuple(tensor.shape)}" for name, tensor in zip(self.spec.names, self, strict=True))
        return f"LayerState({self.spec.kind}: {', '.join(parts)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return LayerState, (self.spec, self._tensors)
