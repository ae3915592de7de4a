"""`mambacl study`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from mambacl import studies
from mambacl.errors import RunError
from mambacl.ranges import Episodes, Jobs
from mambacl.studies import Places, Scale
from mambacl.sweeps.already import already


@dataclass(frozen=True)
class Study:
    """Conduct a study: train the learners it asks, ask them, and write its page.

    Runs, outcomes and answers that are there already are taken as they are, so the same command goes on where
    it was stopped. That holds for those that come with a checkout as well; folders of your own, --results and
    --runs, begin anew. Studies that ask the same learners share their runs.

    For example:

      mambacl study tasks --jobs 2

      mambacl study all --fast

      mambacl study shots --page

    Attributes:
        name: Of a study, or "all".
        fast: Only try every line of it: a few steps of training, in minutes, in folders of its own.
        page: Only write the page, from the answers that there are.
        episodes: For each number that is measured.
        jobs: Runs at a time, each a process with its share of the threads.
        runs: Folder of the runs; runs/sweeps by default, runs/fast with --fast.
        results: Folder of outcomes, answers and pages; docs/results by default, runs/fast/results with
            --fast.
    """

    name: tyro.conf.Positional[str]
    fast: bool = False
    page: bool = False
    episodes: Annotated[Episodes, tyro.conf.arg(metavar="M")] = 200
    jobs: Annotated[Jobs, tyro.conf.arg(metavar="J")] = 1
    runs: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    results: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None


def run(command: Study) -> None:
    """Conducts, writes and says where.

    Raises:
        MambaclError: If there is no such study, a run fails, or an older file cannot be read. Pages of other
            studies are written before it is told that one could not be.
        OSError: If a folder cannot be written.
        KeyboardInterrupt: After Ctrl-C, with how to go on.
    """
    chosen = [studies.study(name) for name in (studies.names() if command.name == "all" else [command.name])]
    scale = Scale.to_try() if command.fast else Scale(command.episodes)
    runs = command.runs or Path("runs/fast" if command.fast else "runs/sweeps")
    results = command.results or Path("runs/fast/results" if command.fast else "docs/results")
    places = Places(runs, results, command.jobs)
    missing: list[str] = []
    for study in chosen:
        try:
            page = studies.page(study, scale, places) if command.page else _conduct(study, scale, places)
            print(f"Written to {page}")
        except RunError as error:
            if not command.page:
                raise
            missing.append(str(error))
    every = [studies.study(name) for name in studies.names()]
    studies.write_contents(every, scale, places.pages)
    if missing:
        raise RunError("\n  ".join(missing))


def _conduct(study: studies.Study[Any], scale: Scale, places: Places) -> Path:
    def on_asked(there: int, asked: int) -> None:
        print(already("answers", places.study(study.name), there, "asked", asked))

    return studies.conduct(study, scale, places, on_asked=on_asked)
