"""Converts a stream to named tensors and facts for a file, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mambacl.container import as_bytes, as_tensor
from mambacl.errors import FileError
from mambacl.learner import Learner
from mambacl.settings import Settings
from mambacl.streams.adapter import Adapter
from mambacl.streams.stream import OPENING, Opening, Stream, input_numbers, opening_targets

_STATE = "state"
_ADAPTED = ("adapter.mean", "adapter.squares", "adapter.projection", "opening.x", "opening.y")


@dataclass(frozen=True)
class StreamFacts(Settings):
    """Facts of a stream beside its tensors.

    Attributes:
        seed: Seed of the codebook, the projection, and the learner's random numbers.
        adapted: Whether features are adapted.
    """

    seed: int
    adapted: bool


def stream_content(stream: Stream) -> tuple[StreamFacts, dict[str, Tensor]]:
    """Facts and tensors of a stream without its learner; the state is stored by `Learner.state_to_bytes`."""
    adapter, opening = stream.adapter, stream.opening
    tensors = {_STATE: as_tensor(stream.learner.state_to_bytes(stream.state))}
    if adapter is not None and opening is not None:
        adapted = (adapter.mean, adapter.squares, adapter.projection, opening.x, opening.y)
        tensors |= zip(_ADAPTED, adapted, strict=True)
    return StreamFacts(stream.seed, adapter is not None), tensors


def stream_of(
    learner: Learner, facts: StreamFacts, features: int, tensors: Mapping[str, Tensor], where: str
) -> Stream:
    """Restores a stream from the result of `stream_content`.

    Args:
        learner: Learner that read the stream.
        facts: Facts of the stream.
        features: Number of features of an input.
        tensors: Tensors of the stream.
        where: Name of the file, for messages.

    Returns:
        The stream, with its state on the learner's device.

    Raises:
        FileError: If facts, tensors and learner do not fit together.
    """
    refused = f"{where} holds a stream that its learner cannot have read"
    takes = input_numbers(learner)
    if features < 1 or (not facts.adapted and features != takes):
        raise FileError(f"{refused}: the learner takes {takes} features, got {features}")
    if not 0 <= facts.seed < 2**64:
        raise FileError(f"{refused}: its seed must be from 0 to 2^64 - 1, got {facts.seed}")
    expected = _adapted_like(learner, features) if facts.adapted else {}
    if set(tensors) != {_STATE, *expected}:
        raise FileError(f"{refused}: its tensors must be {[_STATE, *expected]}, got {sorted(tensors)}")
    state = learner.state_from_bytes(as_bytes(tensors[_STATE], where), f"the state in {where}")
    if state.batch_size != 1 or state.examples < 1:
        raise FileError(
            f"{refused}: its state must be of one stream that has read an example, got {state.batch_size} "
            f"streams that have read {state.examples}"
        )
    if not all(tensor.isfinite().all() for tensor in state.tensors()):
        raise FileError(f"{refused}: its state must be finite, got NaN or infinity")
    if not facts.adapted:
        return Stream(learner, facts.seed, state)
    for name, (shape, dtype) in expected.items():
        _check(name, tensors[name], shape, dtype, refused)
    mean, squares, projection, x, y = (tensors[name] for name in _ADAPTED)
    if (squares < 0).any():
        raise FileError(f"{refused}: `adapter.squares` must be at least 0")
    if state.seen is not None and not ((y >= 0) & (y < state.seen.shape[1])).all():
        raise FileError(f"{refused}: `opening.y` must be numbers of its {state.seen.shape[1]} labels")
    return Stream(
        learner, facts.seed, state, Adapter(state.examples, mean, squares, projection), Opening(x, y)
    )


def _adapted_like(learner: Learner, features: int) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Required shapes and dtypes of the tensors; computed without large tensors, as a file may be forged."""
    targets = opening_targets(learner)
    shapes = (
        (features,),
        (features,),
        (features, input_numbers(learner)),
        (OPENING, features),
        tuple(targets.shape),
    )
    dtypes = (torch.float64, torch.float64, torch.float32, torch.float64, targets.dtype)
    return dict(zip(_ADAPTED, zip(shapes, dtypes, strict=True), strict=True))


def _check(name: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype, refused: str) -> None:
    if tuple(tensor.shape) != shape or tensor.dtype != dtype:
        raise FileError(
            f"{refused}: `{name}` must be {dtype} of shape {list(shape)}, got {tensor.dtype} of "
            f"{list(tensor.shape)}"
        )
    if tensor.is_floating_point() and not tensor.isfinite().all():
        raise FileError(f"{refused}: `{name}` must be finite, got NaN or infinity")
