"""The learners that come with the package."""

from __future__ import annotations

import functools
from typing import Literal, get_args

from mambacl import packaged
from mambacl.errors import DataError
from mambacl.learner import Learner

PackagedName = Literal["prototype", "mamba2"]
"""The learners that come with the package (docs/streams.md has how they compare)."""

DEFAULT: PackagedName = "prototype"

_FOLDER = packaged.folder("mambacl.streams")


def packaged_name(source: object) -> PackagedName | None:
    """The learner of the package that an estimator's parameter names: of None the default.

    Args:
        source: Of the parameter `learner`.

    Returns:
        Its name; None if the parameter is of a learner that was given.

    Examples:
        >>> packaged_name(None), packaged_name("mamba2"), packaged_name("./mamba2")
        ('prototype', 'mamba2', None)
    """
    if source is None:
        return DEFAULT
    return next((name for name in get_args(PackagedName) if isinstance(source, str) and name == source), None)


@functools.cache
def load(name: PackagedName) -> Learner:
    """A pretrained learner of classes, over feature vectors of any dimension.

    `files/NAME.safetensors` is as `mambacl.save_learner` writes it; `files/NAME.toml` has its `sha256`, the
    settings that it was trained with, and what was measured.

    Args:
        name: Of the learner; an estimator without one takes `DEFAULT`.

    Returns:
        The learner, in evaluation mode and without gradients: one for the whole process, which thousands of
        streams may share. Copy it (`copy.deepcopy`) before you train it on.

    Raises:
        DataError: If this package comes without it, or a file is damaged.
        FileError: If the file is whole and no learner.
    """
    who, weights = "pretrained learner", _FOLDER / f"{name}.safetensors"
    try:
        expected = packaged.description(who, weights.with_suffix(".toml"), "sha256")["sha256"]
        contents = packaged.contents(who, weights, expected)
    except DataError as error:
        raise DataError(
            f"{error}; pass a learner, as in ContinualClassifier(learner), where `learner` is a "
            "mambacl.Learner, the folder of a run, or a file of mambacl.save_learner, which "
            "`python -m mambacl.streams.pretrain --out FILE` makes"
        ) from error
    return Learner.from_bytes(contents, f"the packaged {weights.name}").requires_grad_(False)
