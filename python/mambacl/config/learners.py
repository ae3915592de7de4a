"""Settings of learners, by kind."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_type_hints

from mambacl import _core, settings
from mambacl.config.encoders import CnnEncoder, Encoder
from mambacl.config.feed_forwards import FeedForward
from mambacl.config.mixers import MambaMixer, Mixer
from mambacl.config.selectivity import Selectivity
from mambacl.config.targets import ClassTarget, Target
from mambacl.errors import ConfigError
from mambacl.settings import Settings


@dataclass(frozen=True)
class LearnerConfig(Settings):
    """What the settings of every learner have; those of each kind derive from it.

    Attributes:
        encoder: From inputs to `d_model` numbers.
        target: What examples are labelled with.
        d_model: Numbers in an encoded input.
        kind: Of the learner.
    """

    encoder: Encoder = field(default=CnnEncoder())
    target: Target = field(default=ClassTarget())
    d_model: int = 128
    kind: str = field(default="", kw_only=True, repr=False)

    @staticmethod
    def from_table(table: Mapping[str, Any]) -> LearnerConfig:
        """The settings of a table `[model]`, as the engine reads it.

        Args:
            table: Settings by name, such as TOML has; those left out keep their defaults. Without a `kind`
                they are a sequence learner's.

        Returns:
            The settings, of the class of their kind.

        Raises:
            ConfigError: If a key is unknown (with the nearest that is known), or a value is of another type
                or out of its range.

        Examples:
            >>> LearnerConfig.from_table({"n_layer": 4, "encoder": {"kind": "vector", "dim": 8}}).encoder
            VectorEncoder(dim=8, hidden=())
            >>> type(LearnerConfig.from_table({"kind": "prototype"})).__name__
            'PrototypeConfig'
        """
        engine = _core.Learner(json.dumps(_checked(table, "")))
        whole = json.loads(engine.config())
        return settings.read(LEARNERS[whole["kind"]], whole, "model")

    def to_json(self) -> str:
        """The settings as the engine reads them.

        Raises:
            ConfigError: If a setting is of a type that JSON lacks, or not finite.
        """
        return json.dumps(_checked(self, ""))


@dataclass(frozen=True)
class SequenceConfig(LearnerConfig):
    """A sequence model that reads the stream (arXiv:2310.11952): MambaCL (arXiv:2412.00776), Transformers.

    Attributes:
        encoder: From inputs to tokens.
        target: Targets as tokens and answers.
        d_model: Numbers in a token.
        n_layer: Blocks of the backbone.
        mixer: The layer that mixes along the stream.
        feed_forward: The layer that follows it; None for what the mixer is published with: `MlpFeedForward`
            with attentions, nothing with Mamba.
        norm: The norm before both: "rms", or "none" as in the Transformers of CL-as-Seq.
        selectivity: The regulariser of meta-training; None, or a weight of 0, for none.

    Examples:
        >>> from mambacl import VectorEncoder
        >>> config = SequenceConfig(VectorEncoder(dim=64), d_model=128)
        >>> config.mixer.d_state, config.selectivity.target
        (16, 'mass')
    """

    n_layer: int = 2
    mixer: Mixer = field(default=MambaMixer())
    feed_forward: FeedForward | None = None
    norm: Literal["rms", "none"] = "rms"
    selectivity: Selectivity | None = field(default=Selectivity())
    kind: Literal["sequence"] = field(default="sequence", kw_only=True, repr=False)


@dataclass(frozen=True)
class PrototypeConfig(LearnerConfig):
    """A prototypical network (arXiv:1703.05175): the answer is the class whose mean is nearest.

    Attributes:
        encoder: From inputs to the space of prototypes.
        target: Classes only.
        d_model: Numbers in a prototype.
    """

    kind: Literal["prototype"] = field(default="prototype", kw_only=True, repr=False)


@dataclass(frozen=True)
class GemclConfig(LearnerConfig):
    """GeMCL (Banayeeanzade et al., NeurIPS 2021): a Gaussian for each class, its precision under a learned
    Gamma prior.

    Attributes:
        encoder: From inputs to the space of Gaussians.
        target: Classes only.
        d_model: Dimensions of a class's Gaussian.
        predictive: "student_t", all of the posterior, or "map", its mode.
    """

    predictive: Literal["student_t", "map"] = "student_t"
    kind: Literal["gemcl"] = field(default="gemcl", kw_only=True, repr=False)


@dataclass(frozen=True)
class BayesConfig(LearnerConfig):
    """Sequential Bayes (SB-MCL, arXiv:2405.18758): Gaussian beliefs about latent variables, sharpened by
    each example in closed form. For classes there is one of each symbol, and a query goes where it fits best;
    for vectors there is one, which a network answers from.

    Attributes:
        encoder: From inputs to `d_model` numbers.
        target: What examples are labelled with.
        d_model: Numbers in an encoded input.
        d_latent: Numbers in a latent variable.
        d_hidden: Width of the networks' hidden layers.
    """

    d_latent: int = 128
    d_hidden: int = 512
    kind: Literal["bayes"] = field(default="bayes", kw_only=True, repr=False)


@dataclass(frozen=True)
class OmlConfig(LearnerConfig):
    """OML (arXiv:1905.12588): a slow encoder, and above it a small network of fast weights, which learns from
    each example of a stream by a step of gradient descent.

    Attributes:
        encoder: From inputs to the representation.
        target: What is learned by fast weights.
        d_model: Numbers in the representation.
        hidden: Widths of the fast network's hidden layers; none for a linear one.
        inner_lr: The first value of the steps' learning rate, which meta-training learns.
    """

    hidden: tuple[int, ...] = (256,)
    inner_lr: float = 0.03
    kind: Literal["oml"] = field(default="oml", kw_only=True, repr=False)


@dataclass(frozen=True)
class AnmlConfig(LearnerConfig):
    """ANML (arXiv:2002.09571): a network of fast weights that learns from each example of a stream by a step
    of gradient descent, and a slow one that gates its last hidden layer.

    Attributes:
        encoder: From inputs to what the gates are made of.
        target: What is learned by fast weights.
        d_model: Numbers that the encoder gives the gates.
        hidden: Hidden layers of the fast network, which sees inputs as they come and of order 1: for images
            the channels of each convolution, for vectors the widths of dense layers. None for
            (16, 32, 64, 64) and (256, 256).
        inner_lr: The first value of the steps' learning rate, which meta-training learns.
    """

    hidden: tuple[int, ...] | None = None
    inner_lr: float = 0.01
    kind: Literal["anml"] = field(default="anml", kw_only=True, repr=False)


LEARNERS: dict[str, type[LearnerConfig]] = {
    config.kind: config
    for config in (SequenceConfig, PrototypeConfig, GemclConfig, BayesConfig, OmlConfig, AnmlConfig)
}
"""The settings of learners by their kind."""


def kinds(part: Literal["encoder", "target", "mixer", "feed_forward"]) -> list[str]:
    """The kinds there are of a part of a sequence learner.

    Examples:
        >>> kinds("encoder")
        ['cnn', 'vector']
    """
    hint = get_type_hints(SequenceConfig)[part]
    members = [part for member in get_args(hint) for part in (get_args(member) or (member,))]
    return [member.kind for member in members if member is not type(None)]


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
