"""The two sequence learners in the forms that others compute them in: to measure beside, not to learn with.

Neither keeps a state. CL-as-Seq's Transformer (arXiv:2310.11952) reads a stream and all its queries as one
sequence under a mask; a selective scan, which no mask reaches, reads the stream once more for every query.
Sizes and operations are those of the learners here, values are random.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Mixer = Callable[[int], nn.Module]
"""From d_model to a module that mixes a sequence, (batch, length, d_model) to the same."""


class _Tokens(nn.Module):
    """A stream x_1, y_1, x_2, ... and its queries as tokens, and the answers read from queries."""

    def __init__(self, dim: int, d_model: int, vocab: int) -> None:
        super().__init__()
        self.encoder = nn.Linear(dim, d_model)
        self.symbols = nn.Embedding(vocab, d_model)
        self.head = nn.Linear(d_model, vocab)

    def stream(self, x: Tensor, y: Tensor) -> Tensor:
        """(batch, T, dim) and (batch, T) int64 to (batch, 2 T, d_model)."""
        return torch.stack([self.encoder(x), self.symbols(y)], dim=2).flatten(1, 2)


class MaskedTransformer(_Tokens):
    """Stream and queries as one sequence of 2 T + Q tokens: the mask lets a query see the stream and itself.

    Args:
        dim: Numbers of an input.
        d_model: Of tokens.
        n_layer: Layers, without norms.
        n_head: Heads of attention.
        d_hidden: Of a layer's two-layer network.
        vocab: Symbols.
    """

    def __init__(self, dim: int, d_model: int, n_layer: int, n_head: int, d_hidden: int, vocab: int) -> None:
        super().__init__(dim, d_model, vocab)
        self._n_head = n_head
        self.qkv = nn.ModuleList(nn.Linear(d_model, 3 * d_model) for _ in range(n_layer))
        self.out = nn.ModuleList(nn.Linear(d_model, d_model) for _ in range(n_layer))
        self.up = nn.ModuleList(nn.Linear(d_model, d_hidden) for _ in range(n_layer))
        self.down = nn.ModuleList(nn.Linear(d_hidden, d_model) for _ in range(n_layer))

    def forward(self, x: Tensor, y: Tensor, queries: Tensor) -> Tensor:
        """(batch, T, dim), (batch, T) int64 and (batch, Q, dim) to (batch, Q, vocab)."""
        stream = self.stream(x, y)
        h = torch.cat([stream, self.encoder(queries)], dim=1)  # (batch, 2 T + Q, d_model)
        mask = _mask(stream.shape[1], queries.shape[1], h.device)
        for qkv, out, up, down in zip(self.qkv, self.out, self.up, self.down, strict=True):
            q, k, v = (part.unflatten(-1, (self._n_head, -1)).transpose(1, 2) for part in qkv(h).chunk(3, -1))
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)  # (batch, n_head, length, d_head)
            h = h + out(mixed.transpose(1, 2).flatten(2))
            h = h + down(F.gelu(up(h)))
        return self.head(h[:, stream.shape[1] :])


class ReplicatedMamba(_Tokens):
    """Every query at the end of a stream of its own: Q sequences of 2 T + 1 tokens for an episode.

    Args:
        dim: Numbers of an input.
        d_model: Of tokens.
        n_layer: Blocks of RMSNorm and mixer.
        vocab: Symbols.
        mixer: What makes a mixer, such as `mambacl.nn.Mamba` or `mamba_ssm.Mamba`.
    """

    def __init__(self, dim: int, d_model: int, n_layer: int, vocab: int, mixer: Mixer) -> None:
        super().__init__(dim, d_model, vocab)
        self.norms = nn.ModuleList(nn.RMSNorm(d_model) for _ in range(n_layer))
        self.mixers = nn.ModuleList(mixer(d_model) for _ in range(n_layer))

    def forward(self, x: Tensor, y: Tensor, queries: Tensor) -> Tensor:
        """(batch, T, dim), (batch, T) int64 and (batch, Q, dim) to (batch, Q, vocab)."""
        batch, asked = queries.shape[:2]
        streams = self.stream(x, y).repeat_interleave(asked, dim=0)  # (batch Q, 2 T, d_model)
        h = torch.cat([streams, self.encoder(queries).flatten(0, 1).unsqueeze(1)], dim=1)
        for norm, mixer in zip(self.norms, self.mixers, strict=True):
            h = h + mixer(norm(h))
        return self.head(h[:, -1]).unflatten(0, (batch, asked))


@functools.cache  # the published form makes it once as well
def _mask(stream: int, queries: int, device: torch.device) -> Tensor:
    """What each token sees, (stream + queries, stream + queries) bool."""
    length = stream + queries
    seen = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    seen[stream:, stream:] = torch.eye(queries, dtype=torch.bool, device=device)
    return seen
