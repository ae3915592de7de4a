"""A Mamba block beside its own matrix products, other people's blocks, and a Transformer layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mambacl import ops
from mambacl.bench.scan_arguments import scan_arguments
from mambacl.bench.timing import Times, interleaved
from mambacl.nn import Mamba

BLOCK = "Mamba block"
PROJECTIONS = "its four projections"
TRANSFORMER = "Transformer layer"
MAMBAPY = "mamba.py's block"
TRANSFORMERS = "transformers' MambaMixer"

PEER_PACKAGES = ("mambapy", "transformers")
"""What other people's Mamba blocks are imported from."""


@dataclass(frozen=True)
class Shape:
    """The sizes of a block and its inputs, float32.

    Attributes:
        length: Tokens of a sequence.
        batch: Sequences.
        d_model: Numbers in a token.
        d_state: States of a channel; d_inner is 2 d_model.
    """

    length: int
    batch: int = 16
    d_model: int = 512
    d_state: int = 16


class Projections(nn.Module):
    """The matrix products of a Mamba block, and nothing else: what it cannot do without.

    Args:
        shape: Of the block.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        d_inner, dt_rank = 2 * shape.d_model, -(-shape.d_model // 16)
        self.in_proj = nn.Linear(shape.d_model, 2 * d_inner, bias=False)
        self.x_proj = nn.Linear(d_inner, dt_rank + 2 * shape.d_state, bias=False)
        self.dt_proj = nn.Linear(dt_rank, d_inner, bias=False)
        self.out_proj = nn.Linear(d_inner, shape.d_model, bias=False)
        self.dt_rank = dt_rank

    def forward(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """(batch, length, d_model); the results are no block's, only their products are."""
        x, z = self.in_proj(tokens).chunk(2, dim=-1)
        selected = self.x_proj(x)
        return self.out_proj(x), self.dt_proj(selected[..., : self.dt_rank]), selected, z


class CausalTransformer(nn.Module):
    """torch's own Transformer layer with a causal mask: 8 heads, feed-forward of 2 d_model, no dropout.

    Args:
        shape: Of the block it stands beside.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(
            shape.d_model, 8, 2 * shape.d_model, dropout=0.0, batch_first=True
        )
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(shape.length))

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, length, d_model) to the same."""
        return self.layer(tokens, src_mask=self.mask, is_causal=True)


def step(module: nn.Module, shape: Shape) -> Callable[[], None]:
    """One forward and backward pass, with gradients to inputs and parameters."""
    tokens = torch.randn(shape.batch, shape.length, shape.d_model, requires_grad=True)

    def run() -> None:
        module.zero_grad()
        outputs = module(tokens)
        parts = outputs if isinstance(outputs, tuple) else (outputs,)
        torch.autograd.backward(parts, [torch.ones_like(part) for part in parts])

    return run


def blocks(shape: Shape, peers: bool, repeats: int) -> Times:
    """Forward and backward of the block and of what it stands beside.

    Args:
        shape: Sizes.
        peers: Whether to run other people's Mamba blocks, which take long; needs the extra `bench`.
        repeats: Turns.

    Returns:
        Times of `BLOCK`, `PROJECTIONS`, `TRANSFORMER` and, of peers, `MAMBAPY` and `TRANSFORMERS`.
    """
    cases = {
        BLOCK: step(Mamba(shape.d_model, d_state=shape.d_state), shape),
        PROJECTIONS: step(Projections(shape), shape),
        TRANSFORMER: step(CausalTransformer(shape), shape),
    }
    if peers:
        cases |= {MAMBAPY: step(_mambapy(shape), shape), TRANSFORMERS: step(_transformers(shape), shape)}
    return interleaved(cases, repeats)


def precisions(shape: Shape, repeats: int) -> Times:
    """Forward and backward of the block in float32 and under autocast, by the names of the dtypes."""
    block = Mamba(shape.d_model, d_state=shape.d_state)
    plain = step(block, shape)

    def autocast() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            plain()

    return interleaved({"float32": plain, "bfloat16": autocast}, repeats)


def scans(shape: Shape, repeats: int) -> Times:
    """Forward of the fused scan ("fused"), of the usual loop of torch's operations, which takes all decays
    and inputs at once before it ("loop"), and of this package's reference, whose loop keeps nothing
    ("reference")."""
    cpu = torch.device("cpu")
    arguments = scan_arguments(shape.batch, shape.length, 2 * shape.d_model, shape.d_state, cpu)

    def case(scan: Callable[..., object]) -> Callable[[], None]:
        def run() -> None:
            scan(**arguments, delta_softplus=True)

        return run

    with torch.no_grad():
        cases = {
            "fused": case(ops.selective_scan),
            "loop": case(_loop),
            "reference": case(ops.reference.selective_scan),
        }
        return interleaved(cases, repeats)


def _loop(
    *,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    z: Tensor,
    delta_bias: Tensor,
    delta_softplus: bool,
) -> Tensor:
    assert delta_softplus
    delta = F.softplus(delta + delta_bias)
    decays = (delta.unsqueeze(-1) * A).exp()  # (batch, length, d_inner, d_state)
    inputs = (delta * u).unsqueeze(-1) * B.unsqueeze(2)
    state = torch.zeros_like(inputs[:, 0])
    outputs: list[Tensor] = []
    for time in range(u.shape[1]):
        state = decays[:, time] * state + inputs[:, time]
        outputs.append((state @ C[:, time].unsqueeze(-1)).squeeze(-1))
    return (torch.stack(outputs, dim=1) + D * u) * F.silu(z)


def _mambapy(shape: Shape) -> nn.Module:
    from mambapy.mamba import MambaBlock, MambaConfig  # pyright: ignore  (an extra)

    return MambaBlock(MambaConfig(d_model=shape.d_model, n_layers=1, d_state=shape.d_state))


def _transformers(shape: Shape) -> nn.Module:
    from transformers import MambaConfig
    from transformers.models.mamba.modeling_mamba import MambaMixer

    config = MambaConfig(hidden_size=shape.d_model, state_size=shape.d_state, num_hidden_layers=1)
    return MambaMixer(config, layer_idx=0)
