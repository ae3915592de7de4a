"""What a layer remembers of the streams it has read: typed tuples of tensors, one for each mixer and for
each kind of learner without mixers."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from mambacl.config import LearnerConfig, SequenceConfig


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
    """A Gaussian belief about the latent variable.

    Attributes:
        mean: (batch, d_latent).
        precision: (batch, d_latent).
    """

    mean: Tensor
    precision: Tensor


LayerState = MambaState | AttentionState | LinearAttentionState | PrototypeState | GemclState | BayesState

_OF_MIXERS: dict[str, type[LayerState]] = {
    "mamba": MambaState,
    "attention": AttentionState,
    "linear_attention": LinearAttentionState,
    "performer": PerformerState,
    "mamba2": Mamba2State,
}
_OF_LEARNERS: dict[str, type[LayerState]] = {
    "prototype": PrototypeState,
    "gemcl": GemclState,
    "bayes": BayesState,
}


def layer_state(config: LearnerConfig) -> type[LayerState]:
    """What a layer of a learner remembers.

    Example:
        >>> layer_state(SequenceConfig()).__name__
        'MambaState'
    """
    if isinstance(config, SequenceConfig):
        return _OF_MIXERS[config.mixer.kind]
    return _OF_LEARNERS[config.kind]
