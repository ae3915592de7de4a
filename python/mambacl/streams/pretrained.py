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
    """The name of the packaged learner that an estimator's parameter names; None names the default.

    Args:
        source: Value of the parameter `learner`.

    Returns:
        The name; None if the parameter is a learner, a path, or anything else.

    Examples:
        >>> packaged_name(None), packaged_name("mamba2"), packaged_name("./mamba2")
        ('prototype', 'mamba2', None)
    """
    if source is None:
        return DEFAULT
    return next((name for name in get_args(PackagedName) if isinstance(source, str) and name == source), None)


@functools.cache
def load(name: PackagedName) -> Learner:
    """Loads a pretrained learner of classes, over feature vectors of any dimension.

    `files/NAME.safetensors` is a file of `mambacl.save_learner`. `files/NAME.toml` has its `sha256`, the
    settings of its training, and the accuracies measured.

    Args:
        name: Name of the learner; an estimator without one uses `DEFAULT`.

    Returns:
        The learner, in evaluation mode and without gradients. There is one object per process, which
        thousands of streams may share. Copy it (`copy.deepcopy`) before training it further.

    Raises:
        DataError: If the learner is missing from the package, or a file is damaged.
        FileError: If the file is intact but does not hold a learner.
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
