"""Sequence mixers: the layer that mixes along the stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Discriminator

from mambacl.settings import Settings

InitialDecay = float | Literal["published"]
"""How fast the states of a mixer decay before training: a number from 1e-6 to 1e3, or as published."""


@dataclass(frozen=True)
class MambaMixer(Settings):
    """Mamba (arXiv:2312.00752), with mamba-ssm's names and, but for `initial_decay`, its defaults.

    Attributes:
        d_state: States of a channel.
        d_conv: Taps of the convolution.
        expand: d_inner / d_model.
        dt_rank: Rank of delta's projection; None for d_model / 16, rounded up.
        dt_min: Smallest step size at the start.
        dt_max: Largest step size at the start.
        initial_decay: How fast states decay at the start. A number a: every A is -a. "published": A is
            -(1 .. d_state).
    """

    d_state: int = 16
    d_conv: int = 4
    expand: int = 2
    dt_rank: int | None = None
    dt_min: float = 1e-3
    dt_max: float = 1e-1
    initial_decay: InitialDecay = 0.1
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
    """Performer (arXiv:2009.14794): softmax attention by positive orthogonal random features, which are drawn
    with each state and kept in it. Its state has a fixed size.

    Attributes:
        n_head: Heads.
        d_key: Numbers in a head's keys; None for d_model / n_head.
        d_value: Numbers in a head's values; None for d_model / n_head.
        d_feature: Random features of a key; None for d_key ln d_key, rounded up.
    """

    n_head: int = 8
    d_key: int | None = None
    d_value: int | None = None
    d_feature: int | None = None
    kind: Literal["performer"] = field(default="performer", kw_only=True, repr=False)


@dataclass(frozen=True)
class Mamba2Mixer(Settings):
    """Mamba-2 (arXiv:2405.21060), with mamba-ssm's names and, but for `d_state` and `initial_decay`, its
    defaults.

    Attributes:
        d_state: States of a channel; mamba-ssm's 128 are for language.
        d_conv: Taps of the convolution.
        expand: d_inner / d_model.
        headdim: Channels of a head; it divides d_inner.
        dt_min: Smallest step size at the start.
        dt_max: Largest step size at the start.
        initial_decay: How fast states decay at the start. A number a: every A is -a. "published": -A is
            uniform in [1, 16].
    """

    d_state: int = 64
    d_conv: int = 4
    expand: int = 2
    headdim: int = 64
    dt_min: float = 1e-3
    dt_max: float = 1e-1
    initial_decay: InitialDecay = 0.1
    kind: Literal["mamba2"] = field(default="mamba2", kw_only=True, repr=False)


@dataclass(frozen=True)
class Mamba3Mixer(Settings):
    """Mamba-3 (arXiv:2603.15569) with one input and one output for each channel, with mamba-ssm's names.

    Its state has d_inner d_state numbers, and those of the last token. Its associations, by head, are
    "content", C . B / sqrt(d_state), both normed and turned; "gated", with each token weighted by its step
    size; "decayed", by what is left of it.

    Attributes:
        d_state: States of a channel; even.
        expand: d_inner / d_model.
        headdim: Channels of a head, which share step sizes, decay and angles.
        rope_fraction: Share of the states that turn.
        dt_min: Smallest step size at the start.
        dt_max: Largest step size at the start.
        initial_decay: How fast states decay at the start. "published": A is about -1, computed from the token
            alone. A number a: the same times a factor of each head, a at the start, which is learned.
    """

    d_state: int = 64
    expand: int = 2
    headdim: int = 32
    rope_fraction: float = 0.5
    dt_min: float = 1e-3
    dt_max: float = 1e-1
    initial_decay: InitialDecay = 0.1
    kind: Literal["mamba3"] = field(default="mamba3", kw_only=True, repr=False)


@dataclass(frozen=True)
class GatedDeltaNetMixer(Settings):
    """Gated DeltaNet (arXiv:2412.06464): a linear attention whose memory corrects and forgets.

    Its memory has n_head d_key d_value numbers. Its associations, by head, are "content", sqrt(d_key) q . k
    of vectors of length 1; "gated", with each token weighted by its writing strength beta; "decayed", by what
    is left of that (what later tokens erase is not told).

    Attributes:
        n_head: Heads.
        d_key: Numbers in a head's keys; None for d_model / n_head.
        d_value: Numbers in a head's values; None for 2 d_model / n_head.
        d_conv: Taps of the convolutions.
        dt_min: Smallest step size of the decay at the start.
        dt_max: Largest step size of the decay at the start.
        initial_decay: How fast states decay at the start. A number a: every A is -a. "published": -A is
            uniform in [0.001, 16].
    """

    n_head: int = 4
    d_key: int | None = None
    d_value: int | None = None
    d_conv: int = 4
    dt_min: float = 1e-3
    dt_max: float = 1e-1
    initial_decay: InitialDecay = 0.1
    kind: Literal["gated_delta_net"] = field(default="gated_delta_net", kw_only=True, repr=False)


RecurrentMixer = MambaMixer | Mamba2Mixer | Mamba3Mixer | GatedDeltaNetMixer
"""The mixers whose states decay."""

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
