"""Initial weights with which a learner is a working classifier before any training.

From random weights, meta-training takes thousands of steps to learn that a symbol is stored under its input
and retrieved by a similar input. Here this is written into the weights, and training improves them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mambacl.config import LearnerConfig, Mamba2Mixer, PrototypeConfig, SequenceConfig, VectorEncoder
from mambacl.errors import InvalidValueError
from mambacl.learner import Learner

_CHANCE = 0.1
"""Factor on random weights where they would hide the weights that are set."""

_SYMBOL = 8.0  # in a symbol's token: its one-hot entry and the constant
_ONE = 20.0  # the constant in an input's token; large, so that after the norm it encodes the input's length
_KEY = 0.3  # scale of keys and queries; SiLU is nearly linear there
_CENTRED = 0.45  # share used of the bias that turns the largest inner product into the nearest mean
_SHARPNESS = 0.35  # scale of logits, chosen by likelihood on meta-validation
_FORGETTING = 1e-5  # decay rate; after thousands of examples the state is nearly unchanged


def class_means(learner: Learner) -> None:
    """Sets the weights of a prototypical network so that it computes the nearest class mean.

    Its encoder passes each feature through two hidden units of opposite sign. The other units stay random,
    and are not used.

    Args:
        learner: Learner before training. Its `d_model` equals the number of features, and its one hidden
            layer has at least twice as many units.

    Raises:
        InvalidValueError: If the learner has another form.
    """
    config = learner.config
    dim = config.d_model
    hidden = config.encoder.hidden if isinstance(config.encoder, VectorEncoder) else ()
    _check(
        config,
        "a PrototypeConfig whose encoder has d_model inputs and one hidden layer twice as wide or more",
        isinstance(config, PrototypeConfig)
        and config.encoder.input_shape == (dim,)
        and len(hidden) == 1
        and hidden[0] >= 2 * dim,
    )
    with torch.no_grad():
        apart = torch.cat([torch.eye(dim), -torch.eye(dim)])
        learner.get_parameter("encoder.layers.0.linear.weight")[: 2 * dim] = apart
        together = learner.get_parameter("encoder.layers.1.linear.weight")  # (dim, hidden)
        together.zero_()
        together[:, : 2 * dim] = apart.T


def counted_associations(learner: Learner) -> None:
    """Sets the weights of a Mamba-2 learner of two layers so that it classifies by mean inner products and
    forgets nearly nothing.

    The first layer counts the examples of each symbol. The second stores a symbol under the input before it
    (B). Its step size (delta) falls with the count, so that classes with many examples do not outweigh those
    with few. A query (C) retrieves the symbols of similar inputs. A key also encodes a share of -|x|^2 / 2,
    the term that turns the largest inner product into the nearest mean.

    A token consists of the input, one entry for each symbol, a constant for inputs, a constant for symbols,
    and the first layer's function of the count. Its other entries, and the other heads, stay random.

    Args:
        learner: Learner before training. `d_state` equals the number of features, `headdim` equals the number
            of symbols and is at most `d_state`, there are at least three heads, and `d_model` is at least
            features + symbols + 3.

    Raises:
        InvalidValueError: If the learner has another form.
    """
    config = learner.config
    (dim,), vocab = config.encoder.input_shape, config.target.vocab if config.target.kind == "class" else 0
    mixer = config.mixer if isinstance(config, SequenceConfig) else None
    fits = (
        isinstance(config, SequenceConfig)
        and isinstance(mixer, Mamba2Mixer)
        and (config.n_layer, mixer.d_state, mixer.headdim) == (2, dim, vocab)
        and vocab <= dim
        and mixer.expand * config.d_model >= 3 * vocab
        and config.d_model >= dim + vocab + 3
    )
    _check(
        config,
        "a SequenceConfig of two layers of Mamba2Mixer, whose d_state is the inputs' dim, whose headdim is "
        "the vocabulary and at most dim, with three heads and a d_model of at least dim + vocabulary + 3",
        fits,
    )
    token = _Token(dim, vocab)
    with torch.no_grad():
        learner.get_parameter("encoder.layers.0.linear.weight")[:dim] = torch.eye(dim)
        learner.get_parameter("encoder.layers.0.norm.weight")[dim:] = 0
        learner.get_parameter("encoder.layers.0.norm.bias")[token.of_input] = _ONE
        symbols = learner.get_parameter("target_embedding.weight")  # (vocab, d_model)
        symbols.zero_()
        symbols[:, token.symbols], symbols[:, token.of_symbol] = _SYMBOL * torch.eye(vocab), _SYMBOL
        _count(_Layer(learner, 0), token)
        _associate(_Layer(learner, 1), token)
        head = learner.get_parameter("head.weight")  # (vocab, d_model)
        head.mul_(_CHANCE * _CHANCE)
        head[:, token.symbols] = _SHARPNESS * torch.eye(vocab)
        learner.get_parameter("head.bias").zero_()


class _Token:
    """The places of the entries of a token."""

    def __init__(self, dim: int, vocab: int) -> None:
        self.inputs = slice(0, dim)
        self.symbols = slice(dim, dim + vocab)
        self.of_input, self.of_symbol, self.rarity = range(dim + vocab, dim + vocab + 3)
        self.dim, self.vocab = dim, vocab


class _Layer:
    """The weights of a Mamba-2 layer by the quantity they compute; all are views."""

    def __init__(self, learner: Learner, number: int) -> None:
        config = learner.config
        assert isinstance(config, SequenceConfig)
        assert isinstance(config.mixer, Mamba2Mixer)

        def named(name: str) -> Tensor:
            return learner.get_parameter(f"backbone.layers.{number}.mixer.{name}")

        d_inner, d_state = config.mixer.expand * config.d_model, config.mixer.d_state
        heads = d_inner // config.mixer.headdim
        self.gate, self.x, self.b, self.c, self.step = named("in_proj.weight").split(
            [d_inner, d_inner, d_state, d_state, heads]
        )  # (rows, d_model)
        self.taps, self.bias = named("conv1d.weight")[:, 0], named("conv1d.bias")  # of x, B and C: (rows, 4)
        self.of_b, self.of_c = slice(d_inner, d_inner + d_state), slice(d_inner + d_state, None)
        self.step_bias, self.log_rate, self.skip = named("dt_bias"), named("A_log"), named("D")  # (heads)
        self.out = named("out_proj.weight")  # (d_model, d_inner)
        self.log_rate.fill_(math.log(_FORGETTING))

    def look(self, rows: slice, back: int = 0) -> None:
        """Sets the convolution of some rows to return the token `back` places earlier."""
        self.taps[rows], self.bias[rows] = 0, 0
        self.taps[rows, -1 - back] = 1


def _count(layer: _Layer, token: _Token) -> None:
    """Sets a layer to compute, for a symbol's token, a number that falls about as 1 / count of the symbol.

    A channel of the second head sums what is stored under the same symbol, and a channel of the third is
    constant. The norm after them divides each by the length of both.
    """
    counts, constant = token.vocab, 2 * token.vocab
    layer.gate.zero_()
    layer.x.mul_(_CHANCE)
    for channel in (counts, constant):
        layer.gate[channel, token.of_symbol] = 0.25
        layer.x[channel] = 0
        layer.x[channel, token.of_symbol] = 0.1
        layer.look(slice(channel, channel + 1))
    for part, rows in ((layer.b, layer.of_b), (layer.c, layer.of_c)):
        part.zero_()
        part[: token.vocab, token.symbols] = 0.3 * torch.eye(token.vocab)
        layer.look(rows)
    layer.step.zero_()
    layer.step_bias[1], layer.skip[1] = _before_softplus(0.1), 0
    layer.step_bias[2], layer.skip[2] = _before_softplus(1e-4), 1
    layer.out.zero_()
    layer.out[token.rarity, constant] = 0.5


def _associate(layer: _Layer, token: _Token) -> None:
    """Sets the first head to store each symbol under the input before it, and to answer with symbols."""
    vocab, dim = token.vocab, token.dim
    values = slice(0, vocab)
    layer.gate.mul_(_CHANCE)
    layer.x.mul_(_CHANCE)
    layer.gate[values], layer.x[values] = 0, 0
    layer.gate[values, token.of_input] = 0.2
    layer.x[values, token.symbols] = 0.25 * torch.eye(vocab)
    layer.look(values)
    for part, rows, back in ((layer.b, layer.of_b, 1), (layer.c, layer.of_c, 0)):
        part.zero_()
        part[:, token.inputs] = _KEY * torch.eye(dim)
        layer.look(rows, back)
    _centre(layer, token)
    layer.step.zero_()
    layer.step[0, token.rarity] = 2
    layer.step_bias[0], layer.skip[0] = 1, 0
    layer.out.mul_(_CHANCE)
    layer.out[token.symbols] = 0
    layer.out[token.symbols, values] = 2 * torch.eye(vocab)


def _centre(layer: _Layer, token: _Token) -> None:
    """Adds a share of -|x|^2 / 2 of the example to inner products; it replaces the last two features.

    The norm turns a token's constant into `_ONE` sqrt(d_model) / r, with r^2 = |x|^2 + _ONE^2. This is about
    linear in |x|^2, whose mean is the number of features. Two keys of opposite sign act as a linear one, as
    silu(t) - silu(-t) = t.
    """
    length = layer.out.shape[0] ** 0.5  # length of a token after the norm
    r = (token.dim + _ONE**2) ** 0.5
    mean, slope = length * _ONE / r, 0.5 * length * _ONE / r**3
    answer = 0.277  # silu(0.45), and nearly -silu(-1.28), its least value
    share = _CENTRED * (length / r * _KEY / 2) ** 2 / 2 / (answer * slope)
    for row, sign, asked in ((-1, 1.0, 0.45), (-2, -1.0, -1.28)):
        layer.b[row], layer.c[row] = 0, 0
        layer.b[row, token.of_input] = sign * share
        layer.bias[layer.of_b][row] = -sign * share * mean
        layer.c[row, token.of_input] = asked / mean


def _before_softplus(step: float) -> float:
    return math.log(math.expm1(step))


def _check(config: LearnerConfig, expected: str, fits: bool) -> None:
    if not fits:
        raise InvalidValueError(f"first weights: argument `learner` must have {expected}, got {config}")
