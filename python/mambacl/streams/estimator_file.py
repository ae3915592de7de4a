"""The file format of estimators: packs one into bytes, and unpacks it."""

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
"""Whether features are adapted; "auto": if the learner's encoder takes another number of features, or the
learner is one of the package's."""


_LEARNER = "learner"


@dataclass(frozen=True, eq=False)
class Content:
    """The content of a file.

    Attributes:
        learner: The learner.
        packaged: Name of the learner, if it is one of the package's.
        random_state: The parameter `random_state`; for a generator, the seed drawn from it.
        adapt: The parameter `adapt`.
        fitted: Fitted state; None before any example.
    """

    learner: Learner
    packaged: PackagedName | None
    random_state: int | None
    adapt: Adapt
    fitted: Fitted | None


@dataclass(frozen=True)
class _FittedFacts(Settings):
    """`Fitted` in JSON: labels in the order of their numbers, and the dtype of their array."""

    stream: StreamFacts
    features: int
    names: tuple[str, ...] | None
    labels: tuple[str | bool | int | float, ...]
    labels_dtype: str


@dataclass(frozen=True)
class _Facts(Settings):
    """`Content` in JSON; the learner is a tensor of bytes beside it."""

    packaged: PackagedName | None
    random_state: int | None
    adapt: bool | Literal["auto"]
    fitted: _FittedFacts | None


def pack(kind: str, content: Content) -> bytes:
    """Packs an estimator into the bytes of a file.

    Args:
        kind: Name of the estimator's class.
        content: Content to write.

    Raises:
        TypeError: If the learner is of a class derived from `Learner`, which a file cannot restore.
        DtypeError: If the learner's parameters and buffers do not all have one floating dtype.
        InvalidValueError: If labels and feature names are too long for a file.
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
    """The bytes of a learner's file, as `Learner.to_bytes` gives them.

    Raises:
        TypeError, DtypeError: As `pack`.
    """
    if type(learner) is not Learner:
        raise TypeError(
            f"a file can hold a mambacl.Learner only, got {type(learner).__name__}, which a file cannot "
            "restore"
        )
    return learner.to_bytes()


def is_seed(number: int) -> bool:
    """Whether a number is a valid `random_state`, 0 to 2^32 - 1."""
    return 0 <= number < 2**32


def unpack(data: bytes, kind: str, where: str) -> Content:
    """Unpacks the bytes of a file and checks all of them.

    Args:
        data: Bytes of the file.
        kind: Name of the estimator's class.
        where: Name of the file, for messages.

    Returns:
        The content, on the CPU.

    Raises:
        FileError: If the file is damaged, truncated, changed, of a newer format, or of another kind.
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
        raise FileError(f"{where} must hold a learner only, got {sorted(tensors)} as well")
    fitted = None if facts.fitted is None else _fitted(learner, facts.fitted, tensors, where)
    return Content(learner, facts.packaged, facts.random_state, facts.adapt, fitted)


def _check_name(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InvalidValueError(
            f"feature names in a file must be valid UTF-8, got half a surrogate pair in {name!r}"
        ) from None


def _fitted(learner: Learner, facts: _FittedFacts, tensors: Mapping[str, Tensor], where: str) -> Fitted:
    stream = stream_of(learner, facts.stream, facts.features, tensors, where)
    labels = Labels.stored(facts.labels, facts.labels_dtype, stream.state.seen, where)
    if facts.names is not None and len(facts.names) != facts.features:
        raise FileError(f"{where} must have {facts.features} feature names, got {len(facts.names)}")
    return Fitted(stream, labels, facts.features, facts.names)
