"""MambaCL (arXiv:2412.00776) in plain PyTorch: the file to read first. The engine is tested against it.

A continual learner meets a stream of labelled examples and keeps a state of fixed size. MambaCL is a sequence
model that learns by reading: `observe` reads the tokens x_1, y_1, x_2, y_2, ... and returns the new state;
`predict` reads one more x and answers there. No weight changes while a stream is read. Meta-training, by
`forward`, trains the weights over many short streams. Any module that follows `Mixer` can take Mamba's place.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mambacl.config import ClassTarget, CnnEncoder, MambaMixer, Selectivity, SequenceConfig, VectorEncoder
from mambacl.episodes import Episode
from mambacl.errors import ConfigError, InvalidValueError, ShapeError

LayerState: TypeAlias = tuple[Tensor, ...]  # what one layer remembers; the first axis of each is the batch
State: TypeAlias = tuple[LayerState, ...]  # first the encoder's moments, then one entry for each layer
Association: TypeAlias = tuple[Tensor, Tensor]  # keys and queries, both (batch, heads, length, features)


class Mixer(Protocol):
    """The methods of an `nn.Module` that mixes tokens along the stream. To read at once or in pieces gives
    the same. A query needs no method: it is one more token, and the state after it is dropped."""

    def init_state(self, batch_size: int) -> LayerState:
        """The state before any token."""
        ...

    def __call__(self, tokens: Tensor, state: LayerState) -> tuple[Tensor, LayerState, Association | None]:
        """Reads tokens, (batch, length, d_model), on from a state. Returns the mixed tokens, of the same
        shape, the state after them, and their keys and queries, or None."""
        ...


class StreamNorm(nn.Module):
    """Batch normalisation by the moments of the stream. Queries are normalised with the stream's moments,
    never their own: an answer must not depend on the other queries."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        ones, zeros = torch.ones(channels), torch.zeros(channels)
        self.weight, self.bias = nn.Parameter(ones), nn.Parameter(zeros)
        self.running_mean, self.running_var = nn.Buffer(zeros.clone()), nn.Buffer(ones.clone())

    def measure(self, x: Tensor) -> LayerState:
        """Mean and variance of x, (n, channels, ...), both (1, channels). Moves the running ones by 0.1."""
        values = x.transpose(0, 1).flatten(1)  # (channels, values)
        mean, var, count = values.mean(1), values.var(1, correction=0), values.shape[1]
        with torch.no_grad():  # the running moments serve after training; their variance is the unbiased one
            self.running_mean.lerp_(mean, 0.1)
            self.running_var.lerp_(var * count / max(count - 1, 1), 0.1)
        return mean[None], var[None]

    def forward(self, x: Tensor, mean: Tensor, var: Tensor) -> Tensor:
        """Normalises x, (n, channels, ...), by moments (batch, channels), n / batch rows for each stream."""
        mean, var = (moment.repeat_interleave(len(x) // len(moment), 0) for moment in (mean, var))
        scale, shape = self.weight * (var + 1e-5).rsqrt(), (len(x), -1, *[1] * (x.dim() - 2))
        return x * scale.view(shape) + (self.bias - mean * scale).view(shape)


class Encoder(nn.Module):
    """From an input to a token: linear maps or 3x3 convolutions, each with a norm, with ReLU between."""

    def __init__(self, config: VectorEncoder | CnnEncoder, d_model: int) -> None:
        super().__init__()
        self.input_shape, self.layers, self.projection = config.input_shape, nn.ModuleList(), None
        if isinstance(config, VectorEncoder):
            pairs = itertools.pairwise([config.dim, *config.hidden, d_model])
            self.layers.extend(self._normed("linear", nn.Linear(*pair, bias=False)) for pair in pairs)
            return
        before, side = config.in_channels, config.image_size
        for after, stride in zip(config.channels, config.strides or [2] * len(config.channels), strict=True):
            self.layers.append(self._normed("conv", nn.Conv2d(before, after, 3, stride, 1, bias=False)))
            before, side = after, (side - 1) // stride + 1
        self.projection = self._normed("linear", nn.Linear(before * side * side, d_model, bias=False))

    def _normed(self, name: str, transform: nn.Linear | nn.Conv2d) -> nn.ModuleDict:
        return nn.ModuleDict({name: transform, "norm": StreamNorm(len(transform.weight))})

    def forward(self, x: Tensor, moments: LayerState, measure: bool = False) -> tuple[Tensor, LayerState]:
        """Inputs (batch, n, *input_shape) as tokens (batch, n, d_model), normalised by moments, a mean and a
        variance (batch, channels) for each norm; or by their own, with `measure`. Also returns those used."""
        batch = len(moments[0])
        if x.shape != (batch, *x.shape[1:2], *self.input_shape) or not x.numel():
            raise ShapeError(f"argument `x` must be ({batch}, n, *{self.input_shape}), got {tuple(x.shape)}")
        n, x, used = x.shape[1], x.flatten(0, 1), list[Tensor]()
        stages: list[Any] = [*self.layers, *([] if self.projection is None else [self.projection])]
        for index, (transform, norm) in enumerate(stage.values() for stage in stages):
            x = x.relu() if index else x
            x = transform(x.flatten(1) if isinstance(transform, nn.Linear) else x)
            mean, var = norm.measure(x) if measure else moments[2 * index : 2 * index + 2]
            x, used = norm(x, mean, var), [*used, mean.expand(batch, -1), var.expand(batch, -1)]
        return x.view(batch, n, -1), tuple(used)


class Mamba(nn.Module):
    """Mamba (arXiv:2312.00752), one token after the other. The letters of the paper:

    | letter | shape | meaning |
    | --- | --- | --- |
    | u, z | (batch, d_inner) | the input of the state-space model, and the gate of its output |
    | delta | (batch, d_inner) | the step size: how much of this token is written |
    | A | (d_inner, d_state) | negative; -A is the rate at which the state decays |
    | B, C | (batch, d_state) | where u is written, and what is read: key and query of the association |
    | D | (d_inner) | the way around the state |
    | h | (batch, d_inner, d_state) | the state |
    """

    def __init__(self, d_model: int, config: MambaMixer) -> None:
        super().__init__()
        d_inner, d_state = config.expand * d_model, config.d_state
        rank, decay = config.dt_rank or math.ceil(d_model / 16), config.initial_decay
        self.sizes = [rank, d_state, d_state]
        self.in_proj = nn.Linear(d_model, 2 * d_inner, bias=False)
        self.conv1d = nn.Conv1d(d_inner, d_inner, config.d_conv, groups=d_inner)
        self.x_proj, self.dt_proj = nn.Linear(d_inner, sum(self.sizes), bias=False), nn.Linear(rank, d_inner)
        self.out_proj = nn.Linear(d_inner, d_model, bias=False)
        # First values: how fast states decay, and step sizes that are log-uniform in [dt_min, dt_max].
        rate = range(1, d_state + 1) if isinstance(decay, str) else [decay] * d_state
        self.A_log = nn.Parameter(torch.tensor(rate).log().repeat(d_inner, 1))
        self.D = nn.Parameter(torch.ones(d_inner))
        delta = torch.empty(d_inner).uniform_(math.log(config.dt_min), math.log(config.dt_max)).exp()
        self.dt_proj.bias = nn.Parameter(delta.expm1().log())  # softplus of this is delta

    def init_state(self, batch_size: int) -> LayerState:
        """Zeros: the convolution's last inputs, (batch, d_inner, d_conv - 1), and h."""
        shapes = (len(self.D), self.conv1d.weight.shape[2] - 1), self.A_log.shape
        return tuple(self.D.new_zeros(batch_size, *shape) for shape in shapes)

    def forward(self, tokens: Tensor, state: LayerState) -> tuple[Tensor, LayerState, Association]:
        """Reads tokens; see `Mixer`."""
        (window, h), A, steps = state, -self.A_log.exp(), list[tuple[Tensor, ...]]()
        for token in tokens.unbind(1):
            x, z = self.in_proj(token).chunk(2, -1)
            window = torch.cat([window, x.unsqueeze(-1)], -1)  # this token and the d_conv - 1 before it
            u = F.silu(self.conv1d(window).squeeze(-1))
            window = window[..., 1:]
            low_rank, B, C = self.x_proj(u).split(self.sizes, -1)  # the selection: all three depend on u
            delta = F.softplus(self.dt_proj(low_rank))
            # h_t = exp(delta A) h_{t-1} + delta u B,   y_t = C h_t + D u
            h = torch.exp(delta.unsqueeze(-1) * A) * h + (delta * u).unsqueeze(-1) * B.unsqueeze(1)
            y = (h * C.unsqueeze(1)).sum(-1) + self.D * u
            steps.append((self.out_proj(y * F.silu(z)), B, C))
        mixed, keys, queries = (torch.stack(parts, 1) for parts in zip(*steps, strict=True))
        return mixed, (window, h), (keys.unsqueeze(1), queries.unsqueeze(1))  # one head


class Backbone(nn.Module):
    """Residual blocks, tokens + mixer(norm(tokens)), and a last norm."""

    def __init__(self, make_mixer: Callable[[int], nn.Module], d_model: int, n_layer: int) -> None:
        super().__init__()
        blocks = [{"norm": nn.RMSNorm(d_model, 1e-5), "mixer": make_mixer(d_model)} for _ in range(n_layer)]
        self.layers: Any = nn.ModuleList(map(nn.ModuleDict, blocks))
        self.norm_f = nn.RMSNorm(d_model, 1e-5)

    def forward(self, tokens: Tensor, states: State) -> tuple[Tensor, State, Association | None]:
        """As a mixer, with a state for each layer. The association is the last layer's."""
        after, association = list[LayerState](), None
        for (norm, mixer), state in zip((layer.values() for layer in self.layers), states, strict=True):
            mixed, state, association = mixer(norm(tokens), state)
            tokens, after = tokens + mixed, [*after, state]
        return self.norm_f(tokens), tuple(after), association


class ReferenceLearner(nn.Module):
    """MambaCL for classes, with the settings and the parameter names of `mambacl.Learner`. Settings that this
    file lacks raise `ConfigError`. `make_mixer`, from d_model to a `Mixer`, replaces Mamba.

    The verbs know symbols only. `forward` puts a codebook around them, which shows each label as a random
    symbol: what a class is called can be known from the stream alone."""

    def __init__(self, config: SequenceConfig, make_mixer: Callable[[int], nn.Module] | None = None) -> None:
        super().__init__()
        target, rule, d_model = config.target, config.selectivity or Selectivity(weight=0.0), config.d_model
        if make_mixer is None and isinstance(config.mixer, MambaMixer):
            make_mixer = functools.partial(Mamba, config=config.mixer)
        plain = config.norm == "rms" and not config.feed_forward and rule == Selectivity(weight=rule.weight)
        if not (plain and isinstance(target, ClassTarget) and make_mixer):
            raise ConfigError(f"ReferenceLearner: `config` must be the default, for classes, got {config}")
        self.weight = rule.weight  # of the regulariser in the loss
        self.encoder = Encoder(config.encoder, d_model)
        self.backbone = Backbone(make_mixer, d_model, config.n_layer)
        self.target_embedding = nn.Embedding(target.vocab, d_model)
        self.head = nn.Linear(d_model, target.vocab)

    def init_state(self, batch_size: int = 1) -> State:
        """The state before any example. The encoder's moments are the running ones."""
        moments = tuple(moment.repeat(batch_size, 1) for moment in self.encoder.buffers())
        return moments, *(layer["mixer"].init_state(batch_size) for layer in self.backbone.layers)

    def observe(self, state: State, x: Tensor, y: Tensor) -> State:
        """Reads examples in order: x (batch, n, ...), symbols y (batch, n) int64. In training mode the
        moments become those of x, so that it must be the whole stream."""
        tokens, moments = self.encoder(x, state[0], measure=self.training)
        return moments, *self.backbone(self._stream(tokens, y), state[1:])[1]

    def predict(self, state: State, x: Tensor) -> Tensor:
        """Answers queries (batch, Q, ...), each alone: logits of symbols, (batch, Q, vocab)."""
        return self._answer(state, x)[0]

    def regulariser(self, state: State, x: Tensor, y: Tensor, queries: Tensor, answers: Tensor) -> Tensor:
        """Selectivity, before its weight: -ln of the share of a query's association that lies on examples of
        its own class, the mean over queries and heads. `state` is the one after the stream x, y, which is
        read once more for its keys; `answers` (batch, Q) are the symbols of the queries."""
        tokens = self._stream(self.encoder(x, state[0])[0], y)
        stream, asked = self.backbone(tokens, self.init_state(len(x))[1:])[2], self._answer(state, queries)[1]
        if stream is None or asked is None:
            raise ConfigError("ReferenceLearner: `selectivity` must be None: the mixer gives no keys")
        wanted = asked[1].squeeze(2).unflatten(0, answers.shape)  # (batch, Q, heads, features)
        share = torch.einsum("bqhf,bhtf->bqht", wanted, stream[0]).log_softmax(-1)  # over the 2n tokens
        same = (answers[:, :, None] == y[:, None]).repeat_interleave(2, -1)  # (batch, Q, 2n)
        found = same.any(-1)  # a query whose class the stream lacks does not count
        own = share[found].masked_fill(~same[found].unsqueeze(1), -math.inf).logsumexp(-1)  # (found, heads)
        return -own.sum() / max(own.numel(), 1)

    def forward(self, episode: Episode) -> tuple[Tensor, Tensor]:
        """Lives through a batch of episodes. Returns the loss and logits by label, (batch, Q, vocab)."""
        x, queries, codebook = episode.train_x, episode.test_x, episode.codebook
        y, answers = codebook.gather(1, episode.train_y), codebook.gather(1, episode.test_y)  # as symbols
        state = self.observe(self.init_state(len(x)), x, y)
        logits = self.predict(state, queries)
        loss = F.cross_entropy(logits.flatten(0, 1), answers.flatten())
        if self.training and self.weight:
            loss = loss + self.weight * self.regulariser(state, x, y, queries, answers)
        return loss, logits.gather(2, codebook.unsqueeze(1).expand_as(logits))  # by label again

    def _stream(self, tokens: Tensor, y: Tensor) -> Tensor:
        """The tokens x_1, y_1, x_2, y_2, ..., (batch, 2n, d_model)."""
        vocab, shape = len(self.target_embedding.weight), tokens.shape[:2]
        if y.shape != shape or y.dtype != torch.int64 or not ((y >= 0) & (y < vocab)).all():
            raise InvalidValueError(f"argument `y` must be int64 {tuple(shape)}, 0 to {vocab - 1}, got {y}")
        return torch.stack([tokens, self.target_embedding(y)], 2).flatten(1, 2)

    def _answer(self, state: State, x: Tensor) -> tuple[Tensor, Association | None]:
        """Each query is the next token, (batch x Q, 1, d_model), after its own copy of the state."""
        tokens = self.encoder(x, state[0])[0].flatten(0, 1).unsqueeze(1)
        copies = tuple(tuple(part.repeat_interleave(x.shape[1], 0) for part in layer) for layer in state[1:])
        output, _, association = self.backbone(tokens, copies)
        return self.head(output).view(*x.shape[:2], -1), association
