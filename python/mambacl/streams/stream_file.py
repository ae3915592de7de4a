"""A stream as named tensors and a few facts, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mambacl.errors import CheckpointError, MambaclError
from mambacl.learner import Learner
from mambacl.settings import Settings
from mambacl.state import LearnerState
from mambacl.streams.adapter import Adapter
from mambacl.streams.stream import OPENING, Opening, Stream, input_numbers, opening_targets

_LONGEST = 1 << 48  # the engine's own limit

_ADAPTED = ("adapter.mean", "adapter.squares", "adapter.projection", "opening.x", "opening.y")


@dataclass(frozen=True)
class StreamFacts(Settings):
    """What is known of a stream beside its tensors.

    Attributes:
        seed: Of the codebook, the projection, and what the learner draws.
        examples: That it has read.
        adapted: Whether features are adapted.
    """

    seed: int
    examples: int
    adapted: bool


def stream_content(stream: Stream) -> tuple[StreamFacts, dict[str, Tensor]]:
    """What makes a stream, but for its learner."""
    state, adapter, opening = stream.state, stream.adapter, stream.opening
    tensors = {
        f"state.{layer}.{field}": tensor
        for layer, memory in enumerate(state.layers)
        for field, tensor in zip(memory._fields, memory, strict=True)
    }
    if state.codebook is not None and state.seen is not None:
        tensors |= {"codebook": state.codebook, "seen": state.seen}
    if adapter is not None and opening is not None:
        adapted = (adapter.mean, adapter.squares, adapter.projection, opening.x, opening.y)
        tensors |= zip(_ADAPTED, adapted, strict=True)
    return StreamFacts(stream.seed, state.examples, adapter is not None), tensors


def stream_of(
    learner: Learner, facts: StreamFacts, features: int, tensors: Mapping[str, Tensor], where: str
) -> Stream:
    """The stream of facts and tensors.

    Args:
        learner: Which read it.
        facts: As `stream_content` gave them.
        features: Numbers in an input.
        tensors: As `stream_content` gave them.
        where: The file's name, for messages.

    Returns:
        The stream, its state on the learner's device.

    Raises:
        CheckpointError: If they do not fit to one another or to the learner.
    """
    try:
        if not 1 <= facts.examples < _LONGEST:
            raise CheckpointError(f"it must have read from 1 to 2^48 examples, got {facts.examples}")
        if features < 1:
            raise CheckpointError(f"it must be of a feature at least, got {features}")
        if not facts.adapted and features != input_numbers(learner):
            raise CheckpointError(f"it must be of {input_numbers(learner)} features, got {features}")
        codebook, seen = tensors.get("codebook"), tensors.get("seen")
        on_device = None if codebook is None else codebook.to(learner.device)
        empty = learner.init_state(seed=facts.seed, codebook=on_device)
        _check_tensors(tensors, _expected(learner, facts, features, empty), empty)
        layers = tuple(
            type(layer)(*(tensors[f"state.{number}.{field}"] for field in layer._fields))
            for number, layer in enumerate(empty.layers)
        )
        state = LearnerState(facts.examples, codebook, seen, layers).to(learner.device)
        if not facts.adapted:
            return Stream(learner, facts.seed, state)
        mean, squares, projection, x, y = (tensors[name] for name in _ADAPTED)
        if (squares < 0).any():
            raise CheckpointError("`adapter.squares` must be at least 0")
        adapter = Adapter(facts.examples, mean, squares, projection)
        return Stream(learner, facts.seed, state, adapter, Opening(x, y))
    except MambaclError as error:
        raise CheckpointError(f"{where} holds a stream that its learner cannot have read: {error}") from error


def _expected(learner: Learner, facts: StreamFacts, features: int, empty: LearnerState) -> dict[str, Tensor]:
    """Tensors of the shapes and dtypes that the file must have; those by its number of features are not
    allocated."""
    expected = stream_content(Stream(learner, facts.seed, empty))[1]
    if facts.adapted:
        targets = opening_targets(learner)
        shapes = (
            (features,),
            (features,),
            (features, input_numbers(learner)),
            (OPENING, features),
            targets.shape,
        )
        dtypes = (torch.float64, torch.float64, torch.float32, torch.float64, targets.dtype)
        for name, shape, dtype in zip(_ADAPTED, shapes, dtypes, strict=True):
            expected[name] = torch.empty(shape, dtype=dtype, device="meta")
    return expected


def _check_tensors(got: Mapping[str, Tensor], expected: Mapping[str, Tensor], empty: LearnerState) -> None:
    if got.keys() != expected.keys():
        raise CheckpointError(f"its tensors must be {sorted(expected)}, got {sorted(got)}")
    for name, tensor in got.items():
        like, shape = expected[name], list(expected[name].shape)
        if empty.grows and name.startswith("state.") and tensor.ndim == 4:
            shape[2] = tensor.shape[2]  # tokens that attention has kept; the engine compares them
        if list(tensor.shape) != shape or tensor.dtype != like.dtype:
            raise CheckpointError(
                f"`{name}` must be {like.dtype} of shape {shape}, got {tensor.dtype} of {list(tensor.shape)}"
            )
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CheckpointError(f"`{name}` must be finite, got NaN or infinity")
