"""Whether the data of a run are those that it began with: a run remembers digests of them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable
from typing import get_args

from mambacl.data import Split
from mambacl.errors import MambaclError, RunError
from mambacl.experiments.experiment import Experiment
from mambacl.runs import RunFolder

logger = logging.getLogger(__name__)


def digests(experiment: Experiment) -> dict[str, str]:
    """What a run of an experiment remembers of its data.

    Args:
        experiment: Whose data.

    Returns:
        A digest of each file or split, by its name; empty where the data come with the package. Meta-test
        data that are not on this machine are left out.

    Raises:
        MambaclError: If the data of meta-training or meta-validation cannot be read.
    """
    found: dict[str, str] = {}
    for split in get_args(Split):
        with contextlib.suppress(*[MambaclError] if split == "test" else []):
            found.update(experiment.data.digests(split))
    return found


def check_data(
    run: RunFolder, experiment: Experiment, splits: Iterable[Split], *, other_data: bool = False
) -> None:
    """Checks that the data of a run are those that it began with. A run of an older version, which remembers
    none, passes with a warning.

    Args:
        run: The run's folder.
        experiment: What it is a run of.
        splits: Those that are to be used.
        other_data: Whether other data are taken all the same, with a warning.

    Raises:
        RunError: If a file or a split has changed; it is named.
        MambaclError: If it cannot be read.
    """
    now = {name: digest for split in splits for name, digest in experiment.data.digests(split).items()}
    if not now:
        return
    if run.data is None:
        logger.warning(
            "run: `%s` was begun by an older mambacl, which kept no digest of the data: whether they have "
            "changed since is not known",
            run.path,
        )
        return
    for name, digest in now.items():
        before = run.data.get(name, digest)
        if before == digest:
            continue
        told = f"run: `{run.path}` began with other data: {name} has changed since (its digest was {before}, "
        told += f"and is {digest})"
        if not other_data:
            raise RunError(
                f"{told}; put the old data back, choose another folder (--run-dir), or go on with the "
                "data as they are now (--other-data)"
            )
        logger.warning("%s", told)
