"""The published forms of the two learners: a query is answered from the stream alone."""

import pytest
import torch
from torch import Tensor, nn

from mambacl.bench.published import MaskedTransformer, ReplicatedMamba
from mambacl.nn import Mamba

BATCH, T, Q, DIM, VOCAB = 2, 3, 4, 5, 7


def forms() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {
        "masked": MaskedTransformer(DIM, d_model=8, n_layer=2, n_head=2, d_hidden=16, vocab=VOCAB),
        "replicated": ReplicatedMamba(DIM, d_model=8, n_layer=2, vocab=VOCAB, mixer=Mamba),
    }


def episode() -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(BATCH, T, DIM), torch.randint(VOCAB, (BATCH, T)), torch.randn(BATCH, Q, DIM)


@pytest.mark.parametrize("name", forms())
def test_queries_do_not_see_one_another(name: str):
    form = forms()[name]
    x, y, queries = episode()
    together = form(x, y, queries)
    assert together.shape == (BATCH, Q, VOCAB)
    alone = torch.cat([form(x, y, query) for query in queries.split(1, dim=1)], dim=1)
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("name", forms())
def test_every_example_of_the_stream_tells(name: str):
    form = forms()[name]
    x, y, queries = episode()
    before = form(x, y, queries)
    for place in range(T):
        other = y.clone()
        other[:, place] = (y[:, place] + 1) % VOCAB
        assert not torch.allclose(form(x, other, queries), before)
    before.sum().backward()
    assert all(p.grad is not None for p in form.parameters())
