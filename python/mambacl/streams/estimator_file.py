"""All that makes an estimator, as the bytes of one file, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from mambacl import container, settings
from mambacl.errors import ConfigError, FileError, InvalidValueError
from mambacl.learner import Learner
from mambacl.settings import Settings
from mambacl.streams.fitted import Fitted
from mambacl.streams.labels import Labels
from mambacl.streams.pretrained import PackagedName
from mambacl.streams.stream_file import StreamFacts, stream_content, stream_of

Adapt = bool | Literal["auto"]
"""Whether features are adapted; "auto": where the learner's encoder takes another number of them, or the
learner is one of the package's."""


_LEARNER = "learner"


@dataclass(frozen=True, eq=False)
class Content:
    """What a file holds.

    Attributes:
        learner: The learner.
        packaged: Its name, if it is the package's own.
        random_state: The parameter; of a generator the seed that it gave.
        adapt: The parameter.
        fitted: None before any example.
    """

    learner: Learner
    packaged: PackagedName | None
    random_state: int | None
    adapt: Adapt
    fitted: Fitted | None


@dataclass(frozen=True)
class _FittedFacts(Settings):
    """`Fitted` as JSON has it: labels in the order of their numbers, and the dtype of arrays of them."""

    stream: StreamFacts
    features: int
    names: tuple[str, ...] | None
    labels: tuple[str | bool | int | float, ...]
    labels_dtype: str


@dataclass(frozen=True)
class _Facts(Settings):
    """`Content` as JSON has it; the learner is a tensor of bytes."""

    packaged: PackagedName | None
    random_state: int | None
    adapt: bool | Literal["auto"]
    fitted: _FittedFacts | None


def pack(kind: str, content: Content) -> bytes:
    """The bytes of a file.

    Args:
        kind: The estimator's class.
        content: What to write.

    Raises:
        TypeError: If the learner is of a class derived from `Learner`, which a file cannot bring back.
        DtypeError: If its parameters and buffers are not all of one floating dtype.
        InvalidValueError: If labels and names are too long for a file.
    """
    tensors = {_LEARNER: container.as_tensor(learner_bytes(content.learner))}
    facts: _FittedFacts | None = None
    if (fitted := content.fitted) is not None:
        of_stream, memory = stream_content(fitted.stream)
        tensors |= memory
        for name in fitted.names or ():
            _check_name(name)
        dtype = "" if fitted.labels.dtype is None else fitted.labels.dtype.str
        facts = _FittedFacts(of_stream, fitted.features, fitted.names, fitted.labels.values, dtype)
    whole = _Facts(content.packaged, content.random_state, content.adapt, facts)
    return container.pack(kind, settings.table(whole), tensors)


def learner_bytes(learner: Learner) -> bytes:
    """The bytes of a learner's own file.

    Raises:
        TypeError, DtypeError: As `pack`.
    """
    if type(learner) is not Learner:
        raise TypeError(
            f"a file must be of a mambacl.Learner itself, got {type(learner).__name__}, which it could not "
            "bring back"
        )
    return learner.to_bytes()


def is_seed(number: int) -> bool:
    """Whether a number can be the parameter `random_state`."""
    return 0 <= number < 2**32


def unpack(data: bytes, kind: str, where: str) -> Content:
    """What the bytes of a file hold, checked whole.

    Args:
        data: The bytes.
        kind: The estimator's class.
        where: The file's name, for messages.

    Returns:
        The content, on the CPU.

    Raises:
        FileError: If the file is damaged, truncated, changed, of a newer format, or of something else.
    """
    table, tensors = container.unpack(data, kind, where)
    try:
        facts = settings.read(_Facts, table, "facts")
    except ConfigError as error:
        raise FileError(f"{where} is of another version of mambacl: {error}") from error
    if facts.random_state is not None and not is_seed(facts.random_state):
        raise FileError(f"{where} must have a `random_state` from 0 to 2^32 - 1, got {facts.random_state}")
    if _LEARNER not in tensors:
        raise FileError(f"{where} must hold a learner, got {sorted(tensors)}")
    learner = Learner.from_bytes(container.as_bytes(tensors.pop(_LEARNER), where), f"the learner in {where}")
    if facts.fitted is None and tensors:
        raise FileError(f"{where} must hold a learner alone, got {sorted(tensors)} as well")
    fitted = None if facts.fitted is None else _fitted(learner, facts.fitted, tensors, where)
    return Content(learner, facts.packaged, facts.random_state, facts.adapt, fitted)


def _check_name(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InvalidValueError(
            f"a file holds names of features that UTF-8 can write, got half a surrogate pair in {name!r}"
        ) from None


def _fitted(learner: Learner, facts: _FittedFacts, tensors: Mapping[str, Tensor], where: str) -> Fitted:
    stream = stream_of(learner, facts.stream, facts.features, tensors, where)
    labels = Labels.stored(facts.labels, facts.labels_dtype, stream.state.seen, where)
    if facts.names is not None and len(facts.names) != facts.features:
        raise FileError(f"{where} must have {facts.features} names of features, got {len(facts.names)}")
    return Fitted(stream, labels, facts.features, facts.names)
