"""Features of examples by a frozen encoder: computed once, kept in a file, and read from there."""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor
from tqdm import tqdm

from mambacl.data.cache import cached_rows, key
from mambacl.data.feature_classes import FeatureClasses
from mambacl.data.sets.labelled import Labelled, Raw
from mambacl.encoders.frozen_encoder import FrozenEncoder
from mambacl.errors import DataError

_FORMAT = 1  # to be raised with every change of the computation that the keys do not tell
_AT_ONCE = 64


def features(labelled: Labelled[Raw], encoder: FrozenEncoder[Raw], progress: bool = True) -> FeatureClasses:
    """The features of examples; the first time they are computed, which may take minutes.

    They are kept in the user's cache folder, or in that of the environment variable `MAMBACL_CACHE`, under
    the keys of examples and encoder. The file appears when it is whole: what is interrupted leaves none.
    Other processors and versions of torch round the last bits otherwise.

    Args:
        labelled: Examples; of the kind that the encoder reads.
        encoder: With frozen weights.
        progress: Whether to show a progress bar while computing, if on a terminal.

    Returns:
        One view of each example, (n, 1, dim) float32, memory-mapped.

    Raises:
        DataError: If an example cannot be read, or its features are NaN or infinite.
    """
    table = cached_rows(
        _file(labelled, encoder),
        (len(labelled), encoder.dim),
        torch.float32,
        lambda: _computed(labelled, encoder, progress),
    )
    if table.shape != (len(labelled), encoder.dim):
        raise DataError(
            f"features: the key {labelled.key!r} names {len(labelled)} examples, and {encoder.key!r} an "
            f"encoder of {encoder.dim} numbers, but under them a table of shape {tuple(table.shape)} is kept"
        )
    domains, domain_names = labelled.of_domains()
    return FeatureClasses(
        table.unsqueeze(1), labelled.examples_per_class, labelled.names, domains, domain_names
    )


def _computed(labelled: Labelled[Raw], encoder: FrozenEncoder[Raw], progress: bool) -> Iterator[Tensor]:
    """Rows of the table, some at a time."""
    # None: shown on a terminal, and never written into a file.
    hidden = None if progress else True
    with tqdm(total=len(labelled), desc=labelled.key, unit="", disable=hidden, dynamic_ncols=True) as bar:
        for first in range(0, len(labelled), _AT_ONCE):
            rows = range(first, min(first + _AT_ONCE, len(labelled)))
            part = encoder.encode([labelled.read(row) for row in rows])
            _check(part, labelled, encoder, rows)
            yield part
            bar.update(len(rows))


def _check(part: Tensor, labelled: Labelled[Raw], encoder: FrozenEncoder[Raw], rows: range) -> None:
    """What would else lie in a file for good."""
    if part.shape != (len(rows), encoder.dim) or part.dtype != torch.float32:
        raise DataError(
            f"features: the encoder {encoder.key!r} must give ({len(rows)}, {encoder.dim}) float32, got "
            f"{tuple(part.shape)} {part.dtype}"
        )
    wrong = (~part.isfinite().all(1)).nonzero()
    if len(wrong):
        raise DataError(
            f"features: the encoder {encoder.key!r} makes NaN or infinity of example "
            f"{rows[int(wrong[0])]} of {labelled.key!r}"
        )


def _file(labelled: Labelled[Raw], encoder: FrozenEncoder[Raw]) -> str:
    depends_on = {"format": _FORMAT, "examples": labelled.key, "encoder": encoder.key}
    readable = re.sub(r"[^A-Za-z0-9]+", "-", f"{labelled.key[:32]}-{encoder.key[:32]}")
    return f"features-{readable}-{key(depends_on)}.safetensors"
