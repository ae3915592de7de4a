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
