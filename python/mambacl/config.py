"""Settings of a learner: frozen dataclasses that mirror the engine's, which checks their values."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from mambacl.errors import ConfigError


@dataclass(frozen=True)
class CnnEncoder:
    """A small convolutional network for square images, trained with the learner.

    3x3 convolutions of stride 2 with batch normalisation and ReLU, then a linear map with batch
    normalisation. Statistics come from the stream alone; queries never affect them.

    Attributes:
        in_channels: Channels of the images: 1 for grey, 3 for colour.
        image_size: Height and width in pixels.
        channels: Channels after each convolution.
    """

    kind: ClassVar[str] = "cnn"
    in_channels: int = 1
    image_size: int = 32
    channels: tuple[int, ...] = (32, 64, 128)


@dataclass(frozen=True)
class VectorEncoder:
    """Linear maps with batch normalisation for vectors, such as features of a frozen encoder.

    Attributes:
        dim: Numbers in an input.
        hidden: Widths of hidden layers, each followed by ReLU.
    """

    kind: ClassVar[str] = "vector"
    dim: int
    hidden: tuple[int, ...] = ()


@dataclass(frozen=True)
class ClassTarget:
    """Targets are classes, shown to the learner as symbols that a codebook chooses for each stream.

    Attributes:
        vocab: Symbols; a stream may hold as many classes.
    """

    kind: ClassVar[str] = "class"
    vocab: int = 64


@dataclass(frozen=True)
class VectorTarget:
    """Targets are vectors; the loss is the mean squared error.

    Attributes:
        dim: Numbers in a target.
    """

    kind: ClassVar[str] = "vector"
    dim: int


@dataclass(frozen=True)
class AngleTarget:
    """Targets are directions, an angle given as (cos, sin); the loss is 1 - cos.

    Attributes:
        dim: Numbers in a target.
    """

    kind: ClassVar[str] = "angle"
    dim: int = 2


@dataclass(frozen=True)
class MambaMixer:
    """Mamba (arXiv:2312.00752), with mamba-ssm's names and defaults.

    Attributes:
        d_state: States of a channel.
        d_conv: Taps of the convolution.
        expand: d_inner / d_model.
        dt_rank: Rank of delta's projection; None for d_model / 16, rounded up.
        dt_min: Smallest step size at the start.
        dt_max: Largest step size at the start.
    """

    kind: ClassVar[str] = "mamba"
    d_state: int = 16
    d_conv: int = 4
    expand: int = 2
    dt_rank: int | None = None
    dt_min: float = 1e-3
    dt_max: float = 1e-1


@dataclass(frozen=True)
class Selectivity:
    """The regulariser of meta-training: it guides what a query is associated with (arXiv:2412.00776).

    Attributes:
        association: What stands for the association of a query t with a token j: "content", a softmax
            of C_t . B_j; "gated", with each token weighted by its mean step size; "decayed", what is
            left of the token when the query comes (arXiv:2403.01590).
        target: "mass", -ln of the association with the query's own class (the form of
            arXiv:2310.11952); "uniform", KL(p || q) with p uniform on it.
        keys: "all" tokens of an example, or the "label" token only.
        layers: "last", "all", or indices of layers.
        weight: Its weight in the loss, lambda.
        end_step: The training step from which on it is off; None for never.
    """

    association: Literal["content", "gated", "decayed"] = "content"
    target: Literal["mass", "uniform"] = "mass"
    keys: Literal["all", "label"] = "all"
    layers: Literal["last", "all"] | tuple[int, ...] = "last"
    weight: float = 0.5
    end_step: int | None = None


Encoder = CnnEncoder | VectorEncoder
Target = ClassTarget | VectorTarget | AngleTarget
Mixer = MambaMixer


@dataclass(frozen=True)
class LearnerConfig:
    """The settings of a sequence learner.

    Attributes:
        encoder: From inputs to tokens.
        target: Targets as tokens and answers.
        mixer: The layer that mixes along the stream.
        d_model: Numbers in a token.
        n_layer: Blocks of the backbone.
        selectivity: The regulariser of meta-training; None for none.

    Example:
        >>> config = LearnerConfig(VectorEncoder(dim=64), d_model=128)
        >>> config.mixer.d_state, config.selectivity.target
        (16, 'mass')
    """

    encoder: Encoder = CnnEncoder()
    target: Target = ClassTarget()
    mixer: Mixer = MambaMixer()
    d_model: int = 128
    n_layer: int = 2
    selectivity: Selectivity | None = Selectivity()

    def to_json(self) -> str:
        """The settings as the engine reads them.

        Raises:
            ConfigError: If a setting is of a type that JSON lacks, or not finite.
        """
        return json.dumps(_tagged(self, ""))


def _tagged(value: Any, name: str) -> Any:
    """A dataclass as a dictionary, with its `kind` beside its fields; `name` is its own, for messages."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return _checked(value, name)
    fields = {
        field.name: _tagged(getattr(value, field.name), f"{name}.{field.name}".lstrip("."))
        for field in dataclasses.fields(value)
    }
    kind = getattr(value, "kind", None)
    return fields if kind is None else {"kind": kind, **fields}


def _checked(value: Any, name: str) -> Any:
    """A value that JSON can say; all else about it is the engine's to check."""
    for part in value if isinstance(value, tuple | list) else (value,):
        if not isinstance(part, int | float | str | None):
            got = type(part).__name__
            raise ConfigError(f"configuration: `{name}` must be a number, a name or several, got {got}")
        if isinstance(part, float) and not math.isfinite(part):
            raise ConfigError(f"configuration: `{name}` must be finite, got {part}")
    return value
