"""What a layer remembers of the streams it has read: typed tuples of tensors, one for each mixer and for
each kind of learner without mixers."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class MambaState(NamedTuple):
    """All that a Mamba layer keeps of the tokens it has read.

    Attributes:
        conv_window: The last d_conv - 1 inputs of the convolution, (groups, d_inner, d_conv - 1).
        ssm_state: The state h of the recurrence, (groups, d_inner, d_state).
    """

    conv_window: Tensor
    ssm_state: Tensor


class AttentionState(NamedTuple):
    """The keys and values of all tokens: it grows with the stream.

    Attributes:
        keys: (batch, n_head, tokens, d_key).
        values: (batch, n_head, tokens, d_value).
    """

    keys: Tensor
    values: Tensor


class Mamba3State(NamedTuple):
    """What a Mamba-3 layer keeps of the tokens it has read.

    Attributes:
        angle: By how much B and C are turned, within [-π, π], (batch, n_head, angles).
        ssm_state: The state S of the recurrence, (batch, n_head, headdim, d_state).
        last_b: B of the last token, turned, (batch, n_head, d_state).
        last_x: x of the last token, (batch, n_head, headdim).
    """

    angle: Tensor
    ssm_state: Tensor
    last_b: Tensor
    last_x: Tensor


class GatedDeltaNetState(NamedTuple):
    """What a Gated DeltaNet layer keeps of the tokens it has read.

    Attributes:
        conv_window: The last d_conv - 1 inputs of the convolutions of q, k and v, one after the other,
            (batch, n_head (2 d_key + d_value), d_conv - 1).
        memory: Sᵀ, what is answered to each key, (batch, n_head, d_key, d_value).
    """

    conv_window: Tensor
    memory: Tensor


class LinearAttentionState(NamedTuple):
    """The sums of linear attention.

    Attributes:
        kv: Of keys' features times values, (batch, n_head, d_key, d_value).
        normaliser: Of keys' features, (batch, n_head, d_key).
    """

    kv: Tensor
    normaliser: Tensor


class PerformerState(NamedTuple):
    """The sums of a Performer's features, and what the features are made with.

    Attributes:
        kv: Of keys' features times values, as shares of exp(log_scale), (batch, n_head, d_feature, d_value).
        normaliser: Of keys' features, as shares of exp(log_scale), (batch, n_head, d_feature).
        log_scale: The logarithm of the largest feature so far, (batch, n_head).
        projection: What was drawn for the episode, (batch, d_feature, d_key), the same for each stream.
    """

    kv: Tensor
    normaliser: Tensor
    log_scale: Tensor
    projection: Tensor


class Mamba2State(NamedTuple):
    """All that a Mamba-2 layer keeps of the tokens it has read.

    Attributes:
        conv_window: The last d_conv - 1 inputs of the convolution, (batch, d_inner + 2 d_state, d_conv - 1).
        ssm_state: The state of the recurrence, (batch, n_head, headdim, d_state).
    """

    conv_window: Tensor
    ssm_state: Tensor


class PrototypeState(NamedTuple):
    """The mean of each symbol's examples.

    Attributes:
        counts: Examples of each symbol, (batch, vocab).
        means: Their means, (batch, vocab, d_model).
    """

    counts: Tensor
    means: Tensor


class GemclState(NamedTuple):
    """The moments of each symbol's examples.

    Attributes:
        counts: Examples of each symbol, (batch, vocab).
        means: Their means, (batch, vocab, d_model).
        deviations: Their summed squares about the mean, (batch, vocab, d_model).
    """

    counts: Tensor
    means: Tensor
    deviations: Tensor


class BayesState(NamedTuple):
    """Gaussian beliefs: of each symbol for classes, (batch, vocab, d_latent), or one, (batch, d_latent).

    Attributes:
        mean: Of the beliefs.
        precision: Of the beliefs, in each dimension.
    """

    mean: Tensor
    precision: Tensor


class FastState(NamedTuple):
    """A layer of fast weights, of OML and ANML, after the steps of gradient descent so far.

    Attributes:
        weight: (batch, out, in); of a convolution, in is (channels, 3, 3) in a row.
        bias: (batch, out).
    """

    weight: Tensor
    bias: Tensor


LayerState = (
    MambaState
    | Mamba2State
    | Mamba3State
    | GatedDeltaNetState
    | LinearAttentionState
    | PerformerState
    | AttentionState
    | PrototypeState
    | GemclState
    | BayesState
    | FastState
)

TELL_POSITIONS = (AttentionState, LinearAttentionState, PerformerState)
"""The states of layers whose tokens are told their positions in the stream."""

LAYER_STATES: dict[str, type[LayerState]] = {
    "mamba": MambaState,
    "mamba2": Mamba2State,
    "mamba3": Mamba3State,
    "gated_delta_net": GatedDeltaNetState,
    "linear_attention": LinearAttentionState,
    "performer": PerformerState,
    "attention": AttentionState,
    "prototype": PrototypeState,
    "gemcl": GemclState,
    "bayes": BayesState,
    "oml": FastState,
    "anml": FastState,
}
"""What a layer remembers, by the kind of its mixer, or of a learner without mixers."""
