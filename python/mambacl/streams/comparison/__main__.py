"""Compares learners on one stream: `python -m mambacl.streams.comparison --out FOLDER`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_args

import tyro

from mambacl import durable
from mambacl.files import load_learner
from mambacl.processes.script import script
from mambacl.ranges import Range
from mambacl.streams.comparison.contestants import contestants
from mambacl.streams.comparison.lives import Life, StreamOrder, Task
from mambacl.streams.comparison.telling import Lives, figure_bytes, tables
from mambacl.streams.comparison.unseen import UNSEEN
from mambacl.streams.learner_source import LearnerSource
from mambacl.streams.pretrained import PackagedName


@dataclass(frozen=True)
class Comparison:
    """Compare the packaged learners with class means, logistic regression and a Hoeffding tree.

    Attributes:
        out: Folder for README.md and the figure.
        learner: Files of `mambacl.save_learner` to compare instead of the packaged learners.
        seeds: Number of seeds, of splits, orders, symbols and projections.
    """

    out: Annotated[Path, tyro.conf.arg(metavar="FOLDER")]
    learner: tuple[Path, ...] = ()
    seeds: Annotated[int, Range(1, 1_000)] = 5


def run(settings: Comparison) -> str:
    """Runs the comparison and writes the page.

    Args:
        settings: Settings of the comparison.

    Returns:
        The tables, in Markdown.

    Raises:
        MambaclError: If the learner or River is missing.
        OSError: If a file cannot be written.
    """
    settings.out.mkdir(parents=True, exist_ok=True)
    learners: dict[str, LearnerSource] = {path.stem: load_learner(path) for path in settings.learner}
    learners = learners or {f'ContinualClassifier("{name}")': name for name in get_args(PackagedName)}
    lives: Lives = {}
    for data in UNSEEN:
        for order in get_args(StreamOrder):
            for seed in range(settings.seeds):
                task = Task.of(data, order, seed)
                classes = int(task.y.max()) + 1
                for name, begin in contestants(learners).items():
                    life = Life.lived(begin(classes, seed), task)
                    lives.setdefault((data, order, name), []).append(life)
    text = tables(lives)
    durable.write(settings.out / "curves.png", figure_bytes(lives))
    page = f"# Learners of one stream\n\n![accuracy by examples read](curves.png)\n\n{text}\n"
    durable.write(settings.out / "README.md", page.encode())
    return text


if __name__ == "__main__":
    script(Comparison, run, "mambacl.streams.comparison")
