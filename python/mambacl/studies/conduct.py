"""Conducting a study: its learners are trained, asked, and a page is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mambacl import settings
from mambacl.errors import RunError
from mambacl.experiments.trained import run_settings
from mambacl.experiments.training_run import trained_run
from mambacl.studies.answers import Answers
from mambacl.studies.page import write_page
from mambacl.studies.scale import Scale
from mambacl.studies.study import UNTRAINED, A, Study, Told
from mambacl.sweeps import Cell, Outcome, Results, Row, Sweep, read_sweep, table
from mambacl.sweeps.advance import advance
from mambacl.sweeps.files import sweep_file
from mambacl.sweeps.plan import due, final, outcomes
from mambacl.sweeps.schedule import run as run_cells


@dataclass(frozen=True)
class Places:
    """Where a study works.

    Attributes:
        runs: Folder with a folder of runs for each sweep.
        results: Folder with a folder of outcomes for each sweep, and `studies`.
        jobs: Runs at a time.
    """

    runs: Path
    results: Path
    jobs: int = 1

    def outcomes(self, sweep: str) -> Results:
        """The outcomes of a sweep."""
        return Results(self.results / sweep)

    @property
    def pages(self) -> Path:
        """The folder of all studies."""
        return self.results / "studies"

    def study(self, name: str) -> Path:
        """The folder of a study."""
        return self.pages / name


def conduct(
    study: Study[A], scale: Scale, places: Places, *, on_asked: Callable[[int, int], None] | None = None
) -> Path:
    """Trains what the study's sweeps lack, asks each learner, and writes the page. What is done is not done
    again.

    Args:
        study: To conduct.
        scale: How much is asked.
        places: Where.
        on_asked: Called before the page is written, with how many answers were there and how many were asked
            for now.

    Returns:
        The page.

    Raises:
        MambaclError: If a run fails, or what was written before cannot be read.
        OSError: If a file cannot be written.
        KeyboardInterrupt: After Ctrl-C; the same call goes on.
    """
    for name in study.sweeps:
        _train(study, name, scale, places)
    asks = list(_asks([_sweep(study, name, scale) for name in study.sweeps], places))
    answers = Answers(places.study(study.name) / "answers", study.answer, scale)
    for ask in tqdm(asks, desc=study.name, disable=None, dynamic_ncols=True):
        ask.answer(study, scale, places, answers)
    _ask_untrained(study, scale, answers)
    if on_asked is not None:
        on_asked(answers.there(), len(answers.written))
    return page(study, scale, places)


def page(study: Study[A], scale: Scale, places: Places) -> Path:
    """Writes the page of a study from the answers that there are.

    Args:
        study: To tell of.
        scale: It was conducted at.
        places: Where.

    Returns:
        The page.

    Raises:
        RunError: If there is no answer at all, or one cannot be read.
        OSError: If a file cannot be written.
    """
    answers = Answers(places.study(study.name) / "answers", study.answer, scale)
    told: list[Told[A]] = []
    for ask in _asks([_whole(name, scale) for name in study.sweeps], places):
        answer = answers.read(ask.name)
        if answer is not None:
            told.append(Told(ask.sweep, ask.cell.learner, answer, ask.cell.seed, ask.outcome))
    for kind in (*study.sweeps, UNTRAINED):
        for file in sorted(answers.folder.glob(f"{kind}--*.json")):
            answer = answers.read(file.stem)
            assert answer is not None
            told.append(Told(kind, file.stem.partition("--")[2].replace("_", " "), answer))
    if not told:
        raise RunError(f"study: there is no answer to {study.name!r} yet in `{answers.folder}`")
    report = study.report(told)
    notes = [*report.notes, *_left_out([_sweep(study, name, scale) for name in study.sweeps], places)]
    report = dataclasses.replace(report, notes=notes)
    return write_page(study, scale, told, report, places.study(study.name))


@dataclass(frozen=True)
class _Ask:
    """A run that is to be asked; if it is the `first` of its sweep, so are the yardsticks."""

    sweep: str
    cell: Cell
    outcome: Outcome
    first: bool

    @property
    def name(self) -> str:
        return f"{self.sweep}-{self.cell.learner}-seed{self.cell.seed}"

    def answer(self, study: Study[A], scale: Scale, places: Places, answers: Answers[A]) -> None:
        asked: dict[str, Any] = {
            "run": run_settings(self.cell.experiment, self.cell.seed),
            "scale": settings.table(scale),
            "version": study.version,
        }
        if answers.read(self.name, asked) is None:
            run = places.runs / self.sweep / self.cell.name
            trained = trained_run(self.cell.experiment, self.cell.seed, run)
            answers.write(self.name, asked, study.ask(trained, scale))
        if self.first:
            self._yardsticks(study, scale, answers)

    def _yardsticks(self, study: Study[A], scale: Scale, answers: Answers[A]) -> None:
        asked = {
            "data": settings.table(self.cell.experiment.data),
            "scale": settings.table(scale),
            "version": study.version,
        }
        _ask_at_once(self.sweep, asked, answers, lambda: study.ask_yardsticks(self.cell.experiment, scale))


def _ask_untrained(study: Study[A], scale: Scale, answers: Answers[A]) -> None:
    experiments = study.untrained()
    asked: dict[str, Any] = {
        "experiments": {name: run_settings(experiment, 0) for name, experiment in experiments.items()},
        "scale": settings.table(scale),
        "version": study.version,
    }
    if experiments:
        _ask_at_once(UNTRAINED, asked, answers, lambda: study.ask_untrained(experiments, scale))


def _ask_at_once(
    kind: str, asked: dict[str, Any], answers: Answers[A], ask: Callable[[], Mapping[str, A]]
) -> None:
    """Asks those that have no run, all of a kind at once, unless all have answered just this."""
    known = sorted(answers.folder.glob(f"{kind}--*.json"))
    if known and all(answers.read(one.stem, asked) is not None for one in known):
        return
    found = {f"{kind}--{name.replace(' ', '_')}": answer for name, answer in ask().items()}
    for name, answer in found.items():
        answers.write(name, asked, answer)
    for file in known:  # of names that are asked no more
        if file.stem not in found:
            file.unlink()


def _left_out(sweeps: Iterable[Sweep], places: Places) -> Iterator[str]:
    """A sentence for each run that is not asked since its training diverged."""
    for sweep in sweeps:
        known = outcomes(sweep, places.outcomes(sweep.name))
        for cell in (cell for row in sweep.rows for cell in final(row, known)):
            outcome = known.get(cell.name)
            if outcome is not None and outcome.diverged is not None:
                yield (
                    f"Left out: {cell.learner}, seed {cell.seed}, whose training diverged: {outcome.diverged}"
                )


def _asks(sweeps: Iterable[Sweep], places: Places) -> Iterator[_Ask]:
    """The runs of sweeps that are done and did not diverge."""
    for sweep in sweeps:
        known = outcomes(sweep, places.outcomes(sweep.name))
        first = True
        for row in sweep.rows:
            for cell in final(row, known):
                outcome = known.get(cell.name)
                if outcome is not None and outcome.complete and outcome.diverged is None:
                    yield _Ask(sweep.name, cell, outcome, first)
                    first = False


def _train(study: Study[Any], name: str, scale: Scale, places: Places) -> None:
    """Trains and tests what a sweep lacks of the rows that the study asks; others are left to themselves."""
    sweep, results, runs = _sweep(study, name, scale), places.outcomes(name), places.runs / name
    if not due(sweep, outcomes(sweep, results)):
        return
    sweep.draw_episodes()
    if scale.fast:  # a process for each of these few steps would take longer than the steps
        while cells := due(sweep, outcomes(sweep, results)):
            advance(sweep, cells[0], runs, results)
    else:
        failures = run_cells(sweep, sweep_file(name), runs, results, places.jobs)
        if failures:
            told = "".join(f"\n  {one}" for one in failures)
            raise RunError(
                f"study: {len(failures)} runs of {name} failed; the same command tries again{told}"
            )
    table.write(_whole(name, scale), results)


def _sweep(study: Study[Any], name: str, scale: Scale) -> Sweep:
    """The rows of a sweep that a study asks."""
    whole = _whole(name, scale)
    rows: tuple[Row, ...] = tuple(row for row in whole.rows if study.asks(name, row.name))
    return Sweep(whole.name, whole.purpose, rows, whole.test)


def _whole(name: str, scale: Scale) -> Sweep:
    return scale.sweep(read_sweep(sweep_file(name)))
