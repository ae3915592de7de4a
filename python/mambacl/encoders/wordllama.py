"""WordLlama: texts as means of token vectors, from a package that holds them: texts without a network.

The vectors are those of large language models' tokens, projected and trained for likeness of sentences
(https://github.com/dleemiller/WordLlama). The order of words is not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor

from mambacl import packaged
from mambacl.encoders.extras import require

NAME = "wordllama"

_WEIGHTS = "weights/l2_supercat_256.safetensors"
_WEIGHTS_SHA256 = "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5"
_TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
_TOKENIZER_SHA256 = "93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68"


class WordLlama:
    """Texts to 256 numbers: the mean of their tokens' vectors; zeros for a text without tokens.

    Args:
        vectors: Of each token, (vocabulary, 256) float32.
        tokenizer: Of the package `tokenizers`.
    """

    key = f"{NAME}-256-{_WEIGHTS_SHA256[:16]}-{_TOKENIZER_SHA256[:16]}"
    dim = 256
    kind: Literal["texts"] = "texts"

    def __init__(self, vectors: Tensor, tokenizer: Any) -> None:
        self._vectors = vectors
        self._tokenizer = tokenizer

    def encode(self, batch: Sequence[str]) -> Tensor:
        """The vectors of texts, (n, 256) float32."""
        encodings = self._tokenizer.encode_batch(list(batch), add_special_tokens=False)
        lengths = torch.tensor([len(encoding.ids) for encoding in encodings])
        tokens = torch.tensor([token for encoding in encodings for token in encoding.ids], dtype=torch.int64)
        return F.embedding_bag(tokens, self._vectors, lengths.cumsum(0) - lengths, mode="mean")


def load() -> WordLlama:
    """The encoder.

    The package itself is never imported: it would change the process's logging, and look for a hub.

    Raises:
        ConfigError: If its packages are not installed.
        DataError: If a file of theirs is damaged.
    """
    require(NAME, "encoders", "wordllama", "tokenizers")
    spec = find_spec("wordllama")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent
    who = f"encoder {NAME}"
    weights = safetensors.torch.load(packaged.contents(who, folder / _WEIGHTS, _WEIGHTS_SHA256))
    description = packaged.contents(who, folder / _TOKENIZER, _TOKENIZER_SHA256)
    tokenizer = import_module("tokenizers").Tokenizer.from_str(description.decode())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return WordLlama(weights["embedding.weight"].float(), tokenizer)
