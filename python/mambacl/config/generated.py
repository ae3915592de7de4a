"""Settings of learners, by kind.

Generated from the engine's schema by `make settings`: edit the structs in `src/`, not this file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Discriminator

from mambacl.config.bases import LEARNERS, EncoderSettings, LearnerSettings
from mambacl.settings import Settings


@dataclass(frozen=True)
class CnnEncoder(EncoderSettings):
    """A small convolutional network for square images, trained with the learner.

    3x3 convolutions with batch normalisation and ReLU, then a linear map with batch normalisation. Statistics
    come from the stream alone; queries never affect them.

    Attributes:
        in_channels: Channels of the images: 1 for grey, 3 for colour.
        image_size: Height and width of the images in pixels.
        channels: Channels after each convolution.
        strides: Stride of each convolution; empty for 2, which halves height and width.
    """

    in_channels: int = 1
    image_size: int = 32
    channels: tuple[int, ...] = (32, 64, 128)
    strides: tuple[int, ...] = ()
    kind: Literal["cnn"] = field(default="cnn", kw_only=True, repr=False)


@dataclass(frozen=True)
class VectorEncoder(EncoderSettings):
    """Linear maps with batch normalisation for vectors, such as features of a frozen encoder.

    Attributes:
        dim: Numbers in an input.
        hidden: Widths of hidden layers, each followed by ReLU; none by default.
    """

    dim: int
    hidden: tuple[int, ...] = ()
    kind: Literal["vector"] = field(default="vector", kw_only=True, repr=False)


Encoder = Annotated[CnnEncoder | VectorEncoder, Discriminator("kind")]


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


Target = Annotated[ClassTarget | VectorTarget | AngleTarget, Discriminator("kind")]


@dataclass(frozen=True)
class MambaMixer(Settings):
    """Mamba (arXiv:2312.00752), with mamba-ssm's names and, except for `initial_decay`, its defaults.

    Attributes:
        d_state: States of a channel.
        d_conv: Taps of the convolution.
        expand: d_inner / d_model.
        dt_rank: Rank of delta's projection; None for d_model / 16, rounded up.
        dt_min: Smallest step size at the start.
        dt_max: Largest step size at the start.
        initial_decay: How fast states decay at the start: "published", or the a of every A = -a.
    """

    d_state: int = 16
    d_conv: int = 4
    expand: int = 2
    dt_rank: int | None = None
    dt_min: float = 0.001
    dt_max: float = 0.1
    initial_decay: Literal["published"] | float = 0.1
    kind: Literal["mamba"] = field(default="mamba", kw_only=True, repr=False)


@dataclass(frozen=True)
class AttentionMixer(Settings):
    """Softmax attention (arXiv:1706.03762): the Transformer. Its state grows with the stream.

    Attributes:
        n_head: Heads.
        d_key: Numbers in a head's keys; None for d_model / n_head.
        d_value: Numbers in a head's values; None for d_model / n_head.
    """

    n_head: int = 8
    d_key: int | None = None
    d_value: int | None = None
    kind: Literal["attention"] = field(default="attention", kw_only=True, repr=False)


@dataclass(frozen=True)
class LinearAttentionMixer(Settings):
    """Linear attention (arXiv:2006.16236): the linear Transformer, softmax replaced by inner products of
    elu(x) + 1. Its state has n_head d_key (d_value + 1) numbers, however long the stream.

    Attributes:
        n_head: Heads.
        d_key: Numbers in a head's keys; None for d_model / n_head.
        d_value: Numbers in a head's values; None for d_model / n_head.
    """

    n_head: int = 8
    d_key: int | None = None
    d_value: int | None = None
    kind: Literal["linear_attention"] = field(default="linear_attention", kw_only=True, repr=False)


@dataclass(frozen=True)
class PerformerMixer(Settings):
    """Performer (arXiv:2009.14794): softmax attention by positive random features, drawn for each episode.

    Attributes:
        n_head: Heads.
        d_key: Numbers in a head's keys; None for d_model / n_head.
        d_value: Numbers in a head's values; None for d_model / n_head.
        d_feature: Random features of a key; None for d_key ln d_key, rounded up: as many as the paper's
            theorem 4 asks for, to within a constant.
    """

    n_head: int = 8
    d_key: int | None = None
    d_value: int | None = None
    d_feature: int | None = None
    kind: Literal["performer"] = field(default="performer", kw_only=True, repr=False)


@dataclass(frozen=True)
class Mamba2Mixer(Settings):
    """Mamba-2 (arXiv:2405.21060), with mamba-ssm's names and, except for `d_state` and `initial_decay`, its
    defaults. Its state has d_inner (d_state + d_conv - 1) + 2 d_state (d_conv - 1) numbers.

    Attributes:
        d_state: States of a channel. 64, the smaller of the paper's: upstream's 128 are for language.
        d_conv: Taps of the convolution.
        expand: d_inner / d_model.
        headdim: Channels of a head; it divides d_inner.
        dt_min: Smallest step size at the start.
        dt_max: Largest step size at the start.
        initial_decay: How fast states decay at the start: "published", or the a of every A = -a.
    """

    d_state: int = 64
    d_conv: int = 4
    expand: int = 2
    headdim: int = 64
    dt_min: float = 0.001
    dt_max: float = 0.1
    initial_decay: Literal["published"] | float = 0.1
    kind: Literal["mamba2"] = field(default="mamba2", kw_only=True, repr=False)


@dataclass(frozen=True)
class Mamba3Mixer(Settings):
    """Mamba-3 (arXiv:2603.15569), with mamba-ssm's names: one input and one output for each channel.

    Attributes:
        d_state: States of a channel; even.
        expand: d_inner / d_model.
        headdim: Channels of a head, which share step sizes, decay and angles.
        rope_fraction: Share of the states that turn.
        dt_min: Smallest step size at the start.
        dt_max: Largest step size at the start.
        initial_decay: How fast states decay at the start: "published", or the a of every A = -a.
    """

    d_state: int = 64
    expand: int = 2
    headdim: int = 32
    rope_fraction: float = 0.5
    dt_min: float = 0.001
    dt_max: float = 0.1
    initial_decay: Literal["published"] | float = 0.1
    kind: Literal["mamba3"] = field(default="mamba3", kw_only=True, repr=False)


@dataclass(frozen=True)
class GatedDeltaNetMixer(Settings):
    """Gated DeltaNet (arXiv:2412.06464): a linear attention whose memory corrects and forgets.

    Attributes:
        n_head: Heads.
        d_key: Numbers in a head's keys; None for d_model / n_head.
        d_value: Numbers in a head's values; None for 2 d_model / n_head, twice the keys' as published.
        d_conv: Taps of the convolutions.
        dt_min: Smallest step size of the decay at the start.
        dt_max: Largest step size of the decay at the start.
        initial_decay: How fast states decay at the start: "published", or the a of every A = -a.
    """

    n_head: int = 4
    d_key: int | None = None
    d_value: int | None = None
    d_conv: int = 4
    dt_min: float = 0.001
    dt_max: float = 0.1
    initial_decay: Literal["published"] | float = 0.1
    kind: Literal["gated_delta_net"] = field(default="gated_delta_net", kw_only=True, repr=False)


Mixer = Annotated[
    MambaMixer
    | AttentionMixer
    | LinearAttentionMixer
    | PerformerMixer
    | Mamba2Mixer
    | Mamba3Mixer
    | GatedDeltaNetMixer,
    Discriminator("kind"),
]


@dataclass(frozen=True)
class NoFeedForward(Settings):
    """No layer: a block is its mixer."""

    kind: Literal["none"] = field(default="none", kw_only=True, repr=False)


@dataclass(frozen=True)
class MlpFeedForward(Settings):
    """A hidden layer with GELU, as in Transformers.

    Attributes:
        d_hidden: Width of the hidden layer; None for 2 d_model, CL-as-Seq's ratio.
    """

    d_hidden: int | None = None
    kind: Literal["mlp"] = field(default="mlp", kw_only=True, repr=False)


@dataclass(frozen=True)
class ExpertsFeedForward(Settings):
    """A mixture of experts (arXiv:2101.03961): each token goes through the few networks that a router
    chooses.

    Attributes:
        n_expert: Networks to choose from.
        top_k: Networks that a token uses.
        d_hidden: Width of each one's hidden layer; None for 2 d_model.
        balance: Weight in the loss of n_expert sum_e f_e P_e, f being the shares of the choices and P the
            mean probabilities of the experts: 1 when tokens are spread evenly.
    """

    n_expert: int = 4
    top_k: int = 2
    d_hidden: int | None = None
    balance: float = 0.01
    kind: Literal["experts"] = field(default="experts", kw_only=True, repr=False)


FeedForward = Annotated[NoFeedForward | MlpFeedForward | ExpertsFeedForward, Discriminator("kind")]


@dataclass(frozen=True)
class Selectivity(Settings):
    """The selectivity regulariser of meta-training. The defaults worked best in this project's measurements.

    Attributes:
        association: What stands for the association.
        target: What it is guided to.
        keys: Which tokens take part.
        layers: Which layers take part.
        heads: How many of a layer's heads take part, from the first; None for all. CL-as-Seq guides 4 of 8.
        weight: λ, its weight in the loss.
        end_step: The training step from which on it is off; None for never.
    """

    association: Literal["content", "gated", "decayed"] = "content"
    target: Literal["mass", "uniform"] = "mass"
    keys: Literal["label", "all"] = "all"
    layers: Literal["last", "all"] | tuple[int, ...] = "last"
    heads: int | None = None
    weight: float = 0.5
    end_step: int | None = None


@dataclass(frozen=True)
class LearnerConfig(LearnerSettings):
    """The settings that all kinds of learners share.

    Attributes:
        encoder: From inputs to `d_model` numbers.
        target: What examples are labelled with.
        d_model: Numbers in an encoded input, which is a token of a sequence learner.
    """

    encoder: Encoder = field(default=CnnEncoder())
    target: Target = field(default=ClassTarget())
    d_model: int = 128
    kind: str = field(default="", kw_only=True, repr=False)


@dataclass(frozen=True)
class SequenceConfig(LearnerConfig):
    """A sequence model that reads the stream (arXiv:2310.11952): MambaCL (arXiv:2412.00776), Transformers.

    Attributes:
        encoder: From inputs to `d_model` numbers.
        target: What examples are labelled with.
        d_model: Numbers in an encoded input, which is a token of a sequence learner.
        n_layer: Blocks of the backbone.
        mixer: The layer that mixes along the stream.
        feed_forward: The layer that follows the mixer; None for the one that the mixer is published with: an
            MLP with attentions, no layer with Mamba.
        norm: The norm before both: "rms", or "none" as in the Transformers of CL-as-Seq.
        selectivity: The regulariser of meta-training; None, or a weight of 0, for none.
    """

    n_layer: int = 2
    mixer: Mixer = field(default=MambaMixer())
    feed_forward: FeedForward | None = None
    norm: Literal["rms", "none"] = "rms"
    selectivity: Selectivity | None = field(default=Selectivity())
    kind: Literal["sequence"] = field(default="sequence", kw_only=True, repr=False)


@dataclass(frozen=True)
class PrototypeConfig(LearnerConfig):
    """A prototypical network (arXiv:1703.05175): the answer is the class whose mean is nearest. For classes
    only.

    Attributes:
        encoder: From inputs to `d_model` numbers.
        target: What examples are labelled with.
        d_model: Numbers in an encoded input, which is a token of a sequence learner.
    """

    kind: Literal["prototype"] = field(default="prototype", kw_only=True, repr=False)


@dataclass(frozen=True)
class GemclConfig(LearnerConfig):
    """GeMCL (Banayeeanzade et al., NeurIPS 2021): a Gaussian for each class, its precision under a learned
    Gamma prior. For classes only.

    Attributes:
        encoder: From inputs to `d_model` numbers.
        target: What examples are labelled with.
        d_model: Numbers in an encoded input, which is a token of a sequence learner.
        predictive: What a class's Gaussian is taken at.
    """

    predictive: Literal["student_t", "map"] = "student_t"
    kind: Literal["gemcl"] = field(default="gemcl", kw_only=True, repr=False)


@dataclass(frozen=True)
class BayesConfig(LearnerConfig):
    """Sequential Bayes (SB-MCL, arXiv:2405.18758): Gaussian beliefs about latent variables, sharpened by each
    example in closed form. For classes there is one for each symbol, and a query goes where it fits best;
    for vectors there is one, which a network answers from.

    Attributes:
        encoder: From inputs to `d_model` numbers.
        target: What examples are labelled with.
        d_model: Numbers in an encoded input, which is a token of a sequence learner.
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
        encoder: From inputs to `d_model` numbers.
        target: What examples are labelled with.
        d_model: Numbers in an encoded input, which is a token of a sequence learner.
        hidden: Widths of the fast network's hidden layers; none for a linear one.
        inner_lr: The first value of the steps' learning rate η, which meta-training learns.
    """

    hidden: tuple[int, ...] = (256,)
    inner_lr: float = 0.03
    kind: Literal["oml"] = field(default="oml", kw_only=True, repr=False)


@dataclass(frozen=True)
class AnmlConfig(LearnerConfig):
    """ANML (arXiv:2002.09571): a network of fast weights that learns from each example of a stream by a step
    of gradient descent, and a slow one that gates its last hidden layer.

    Attributes:
        encoder: From inputs to `d_model` numbers.
        target: What examples are labelled with.
        d_model: Numbers in an encoded input, which is a token of a sequence learner.
        hidden: Hidden layers of the fast network, which sees inputs as they come and of order 1: for images
            the channels of each convolution, for vectors the widths of dense layers. None for (16, 32, 64,
            64) and (256, 256).
        inner_lr: The first value of the steps' learning rate η, which meta-training learns.
    """

    hidden: tuple[int, ...] | None = None
    inner_lr: float = 0.01
    kind: Literal["anml"] = field(default="anml", kw_only=True, repr=False)


LEARNERS.update(
    {
        "sequence": SequenceConfig,
        "prototype": PrototypeConfig,
        "gemcl": GemclConfig,
        "bayes": BayesConfig,
        "oml": OmlConfig,
        "anml": AnmlConfig,
    }
)


KINDS: dict[str, list[str]] = {
    "encoder": ["cnn", "vector"],
    "target": ["class", "vector", "angle"],
    "mixer": ["mamba", "attention", "linear_attention", "performer", "mamba2", "mamba3", "gated_delta_net"],
    "feed_forward": ["none", "mlp", "experts"],
    "learner": ["sequence", "prototype", "gemcl", "bayes", "oml", "anml"],
}
"""The kinds of each part."""


__all__ = [
    "AngleTarget",
    "AnmlConfig",
    "AttentionMixer",
    "BayesConfig",
    "ClassTarget",
    "CnnEncoder",
    "ExpertsFeedForward",
    "GatedDeltaNetMixer",
    "GemclConfig",
    "LearnerConfig",
    "LinearAttentionMixer",
    "Mamba2Mixer",
    "Mamba3Mixer",
    "MambaMixer",
    "MlpFeedForward",
    "NoFeedForward",
    "OmlConfig",
    "PerformerMixer",
    "PrototypeConfig",
    "Selectivity",
    "SequenceConfig",
    "VectorEncoder",
    "VectorTarget",
]
