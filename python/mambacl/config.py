"""Settings of a learner: frozen dataclasses that mirror the engine's, which checks their values."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args, get_type_hints

from pydantic import Discriminator

from mambacl import _core, settings
from mambacl.errors import ConfigError
from mambacl.settings import Settings


@dataclass(frozen=True)
class CnnEncoder(Settings):
    """A small convolutional network for square images, trained with the learner.

    3x3 convolutions of stride 2 with batch normalisation and ReLU, then a linear map with batch
    normalisation. Statistics come from the stream alone; queries never affect them.

    Attributes:
        in_channels: Channels of the images: 1 for grey, 3 for colour.
        image_size: Height and width in pixels.
        channels: Channels after each convolution.
    """

    in_channels: int = 1
    image_size: int = 32
    channels: tuple[int, ...] = (32, 64, 128)
    kind: Literal["cnn"] = field(default="cnn", kw_only=True, repr=False)


@dataclass(frozen=True)
class VectorEncoder(Settings):
    """Linear maps with batch normalisation for vectors, such as features of a frozen encoder.

    Attributes:
        dim: Numbers in an input.
        hidden: Widths of hidden layers, each followed by ReLU.
    """

    dim: int
    hidden: tuple[int, ...] = ()
    kind: Literal["vector"] = field(default="vector", kw_only=True, repr=False)


@dataclass(frozen=True)
class ClassTarget(Settings):
    """Targets are classes, shown to the learner as symbols that a codebook chooses for each stream.

    Attributes:
        vocab: Symbols; a stream may hold as many classes.
    """

    vocab: int = 64
    kind: Literal["class"] = field(default="class", kw_only=True, repr=False)


@dataclass(frozen=True)
class VectorTarget(Settings):
    """Targets are vectors; the loss is the mean squared error.

    Attributes:
        dim: Numbers in a target.
    """

    dim: int
    kind: Literal["vector"] = field(default="vector", kw_only=True, repr=False)


@dataclass(frozen=True)
class AngleTarget(Settings):
    """Targets are directions, an angle given as (cos, sin); the loss is 1 - cos.

    Attributes:
        dim: Numbers in a target.
    """

    dim: int = 2
    kind: Literal["angle"] = field(default="angle", kw_only=True, repr=False)


@dataclass(frozen=True)
class MambaMixer(Settings):
    """Mamba (arXiv:2312.00752), with mamba-ssm's names and defaults.

    Attributes:
        d_state: States of a channel.
        d_conv: Taps of the convolution.
        expand: d_inner / d_model.
        dt_rank: Rank of delta's projection; None for d_model / 16, rounded up.
        dt_min: Smallest step size at the start.
        dt_max: Largest step size at the start.
    """

    d_state: int = 16
    d_conv: int = 4
    expand: int = 2
    dt_rank: int | None = None
    dt_min: float = 1e-3
    dt_max: float = 1e-1
    kind: Literal["mamba"] = field(default="mamba", kw_only=True, repr=False)


@dataclass(frozen=True)
class Selectivity(Settings):
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


Encoder = Annotated[CnnEncoder | VectorEncoder, Discriminator("kind")]
Target = Annotated[ClassTarget | VectorTarget | AngleTarget, Discriminator("kind")]
Mixer = MambaMixer


@dataclass(frozen=True)
class LearnerConfig(Settings):
    """The settings of a sequence learner.

    Attributes:
        encoder: From inputs to tokens.
        target: Targets as tokens and answers.
        mixer: The layer that mixes along the stream.
        d_model: Numbers in a token.
        n_layer: Blocks of the backbone.
        selectivity: The regulariser of meta-training; None, or a weight of 0, for none.

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

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> LearnerConfig:
        """The settings of a table `[model]`, as the engine reads it.

        Args:
            table: Settings by name, such as TOML has; those left out keep their defaults.

        Returns:
            The settings.

        Raises:
            ConfigError: If a key is unknown (with the nearest that is known), or a value is of another type
                or out of its range.

        Example:
            >>> LearnerConfig.from_table({"n_layer": 4, "encoder": {"kind": "vector", "dim": 8}}).encoder
            VectorEncoder(dim=8, hidden=())
        """
        engine = _core.Learner(json.dumps(_checked(table, "")))
        return settings.read(cls, json.loads(engine.config()), "model")

    def to_json(self) -> str:
        """The settings as the engine reads them.

        Raises:
            ConfigError: If a setting is of a type that JSON lacks, or not finite.
        """
        return json.dumps(_checked(self, ""))


def kinds(part: Literal["encoder", "target", "mixer"]) -> list[str]:
    """The kinds there are of a part of a learner.

    Example:
        >>> kinds("encoder")
        ['cnn', 'vector']
    """
    hint = get_type_hints(LearnerConfig)[part]
    return [member.kind for member in get_args(hint) or (hint,)]


def _checked(value: Any, name: str) -> Any:
    """Settings as JSON can say them; `name` is the setting's own, for messages. All else is the engine's to
    check."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {part.name: getattr(value, part.name) for part in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _checked(part, f"{name}.{key}".lstrip(".")) for key, part in value.items()}
    for part in value if isinstance(value, tuple | list) else (value,):
        if not isinstance(part, int | float | str | None):
            got = type(part).__name__
            raise ConfigError(f"configuration: `{name}` must be a number, a name or several, got {got}")
        if isinstance(part, float) and not math.isfinite(part):
            raise ConfigError(f"configuration: `{name}` must be finite, got {part}")
    return value
