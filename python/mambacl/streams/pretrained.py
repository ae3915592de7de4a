"""The learner that comes with the package."""

from __future__ import annotations

import functools
import hashlib
import sys
from importlib.resources import files

from mambacl.errors import DataError
from mambacl.learner import Learner

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_FOLDER = files("mambacl.streams") / "files"
_WEIGHTS = "pretrained.safetensors"
_DESCRIPTION = "pretrained.toml"


@functools.cache
def load() -> Learner:
    """The pretrained learner of classes, over feature vectors of any dimension.

    `files/pretrained.safetensors` is as `mambacl.save_learner` writes it; `files/pretrained.toml` has its
    `sha256`.

    Returns:
        The learner, in evaluation mode and without gradients: one for the whole process, which thousands of
        streams may share. Copy it (`copy.deepcopy`) before you train it on.

    Raises:
        DataError: If this package comes without it, or a file is damaged.
        FileError: If the file is whole and no learner.
    """
    contents, description = _packaged(_WEIGHTS), _packaged(_DESCRIPTION)
    try:
        expected = tomllib.loads(description.decode())["sha256"]
    except (ValueError, KeyError) as error:
        raise DataError(f"pretrained learner: the packaged {_DESCRIPTION} is damaged: {error!r}") from error
    if (got := hashlib.sha256(contents).hexdigest()) != expected:
        raise DataError(
            f"pretrained learner: the packaged {_WEIGHTS} is damaged: "
            f"its sha256 must be {expected}, got {got}"
        )
    return Learner.from_bytes(contents, f"the packaged {_WEIGHTS}").requires_grad_(False)


def _packaged(file: str) -> bytes:
    try:
        return (_FOLDER / file).read_bytes()
    except OSError as error:
        raise DataError(
            f"pretrained learner: this package comes without {file}: pass a learner, as in "
            "ContinualClassifier(learner), where `learner` is a mambacl.Learner, the folder of a run, or a "
            "file of mambacl.save_learner, which `python -m mambacl.streams.pretrain --out FILE` makes"
        ) from error
