"""Finds the learner that an estimator's parameter names."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from mambacl.errors import FileError
from mambacl.experiments.trained import load_run
from mambacl.files import load_learner
from mambacl.learner import Learner
from mambacl.streams import pretrained

LearnerSource = Learner | Path | str | None
"""A learner, the folder of a run, a file of `mambacl.save_learner`, the name of a pretrained learner
(`mambacl.streams.pretrained.PackagedName`), or None for the default pretrained learner."""


def find_learner(source: object) -> Learner:
    """Returns the learner that a source names.

    Args:
        source: A `LearnerSource`.

    Raises:
        TypeError: If the argument is not a `LearnerSource`.
        FileError: If there is no such file or folder, or the file is damaged.
        RunError, ConfigError: If a folder does not hold a run, or holds one of another version.
        DataError: If the pretrained learner is missing from the package, or damaged.
    """
    if (name := pretrained.packaged_name(source)) is not None:
        return pretrained.load(name)
    if isinstance(source, Learner):
        return source
    if not isinstance(source, Path | str):
        raise TypeError(
            "argument `learner` must be a mambacl.Learner, the path of a run's folder or of a learner's "
            f"file, the name of a packaged one, or None, got {type(source).__name__}"
        )
    path = Path(source)
    if path.is_dir():
        return load_run(path).learner
    if not path.is_file():
        raise FileError(
            f"argument `learner` must be the path of a run's folder or of a learner's file, or one of the "
            f"names {', '.join(get_args(pretrained.PackagedName))}, got `{path}`, which does not exist"
        )
    return load_learner(path)


def same_source(one: LearnerSource, other: LearnerSource) -> bool:
    """Whether two sources are the same: one object, or equal names or paths."""
    return one is other or (isinstance(one, Path | str) and type(one) is type(other) and one == other)
