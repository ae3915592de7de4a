"""A gated linear recurrence, HGRN2 (arXiv:2404.07904) with one head, as the mixer of MambaCL.

python examples/gated_recurrence_mixer.py
"""

from __future__ import annotations

import dataclasses

import torch
from gru_mixer import CONFIG, report
from torch import Tensor, nn
from torch.nn import functional as F

from mambacl import Selectivity
from mambacl.reference import Association, LayerState, ReferenceLearner

GATED_CONFIG = dataclasses.replace(CONFIG, selectivity=Selectivity())


class GatedRecurrenceMixer(nn.Module):
    """A matrix S as the state. Each entry of the gate f says how much of a row is kept, and 1 - f is the key:

        S_t = diag(f_t) S_{t-1} + (1 - f_t) v_t^T        y_t = S_t^T q_t

    It has keys and queries, so the regulariser works with it.
    """

    def __init__(self, d_model: int, d_key: int = 16) -> None:
        super().__init__()
        self.sizes = [d_key, d_key, d_model]
        self.in_proj = nn.Linear(d_model, 2 * d_key + d_model)
        self.norm = nn.RMSNorm(d_model)
        self.out_proj = nn.Linear(d_model, d_model, bias=False)
        with torch.no_grad():  # the gates of the rows begin between 0.5 and 0.99: short and long memories
            self.in_proj.bias[:d_key] = torch.linspace(0.5, 0.99, d_key).logit()

    def init_state(self, batch_size: int) -> LayerState:
        """S, (batch, d_key, d_model)."""
        return (self.in_proj.weight.new_zeros(batch_size, self.sizes[0], self.sizes[2]),)

    def forward(self, tokens: Tensor, state: LayerState) -> tuple[Tensor, LayerState, Association]:
        """Reads tokens, (batch, length, d_model)."""
        f, q, v = self.in_proj(tokens).split(self.sizes, -1)
        f, q, (S,) = f.sigmoid(), F.silu(q), state
        read = []
        for t in range(tokens.shape[1]):
            S = f[:, t, :, None] * S + (1 - f[:, t, :, None]) * v[:, t, None]
            read.append(torch.einsum("bkv,bk->bv", S, q[:, t]))
        mixed = self.out_proj(self.norm(torch.stack(read, 1)))
        return mixed, (S,), ((1 - f).unsqueeze(1), q.unsqueeze(1))


if __name__ == "__main__":
    torch.manual_seed(0)
    report(ReferenceLearner(GATED_CONFIG, GatedRecurrenceMixer))
