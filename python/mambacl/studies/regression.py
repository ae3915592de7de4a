"""Regression: targets that are vectors or angles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from mambacl.episodes import Episode
from mambacl.evaluation import Metric, Scores, evaluate, evaluate_predictor
from mambacl.evaluation.protocol import evaluation_mode
from mambacl.experiments.data import Completion
from mambacl.experiments.experiment import Experiment
from mambacl.experiments.trained import Trained
from mambacl.learner import Learner
from mambacl.report.markdown import table
from mambacl.report.measuring import MEAN_TARGET, VECTOR_YARDSTICKS
from mambacl.settings import Settings
from mambacl.studies.bars import draw_ranking
from mambacl.studies.completions import Completed, completed, draw_completions
from mambacl.studies.foreign_streams import ForeignStreams
from mambacl.studies.scale import Scale
from mambacl.studies.study import Report, Study, Told
from mambacl.studies.summary import SPREAD, Summary

_BENCHMARKS = {"sine": "sine waves", "rotation": "rotation", "completion": "completion"}
"""Titles by the names of sweeps."""

_DRAWN = (
    "mamba-unguided",
    "mamba-weakly-guided",
    "transformer",
    "linear-transformer",
    "bayes",
    "oml",
    "nearest input's target",
    "ridge regression",
)
"""Whose completions are drawn."""


@dataclass(frozen=True)
class RegressionError(Settings):
    """The error on test episodes.

    Attributes:
        metric: What it is.
        mean: Over episodes.
        interval: Half its 95 % interval over episodes, for this one model.
        foreign: The mean where each learner has read another episode's stream; None of yardsticks.
        completions: Answers to a few queries, where these are halves of characters.
    """

    metric: str
    mean: float
    interval: float
    foreign: float | None = None
    completions: tuple[Completed, ...] = ()

    @classmethod
    def of(
        cls,
        metric: Metric,
        scores: Scores,
        completions: tuple[Completed, ...],
        foreign: Scores | None = None,
    ) -> RegressionError:
        """From errors of episodes."""
        unread = None if foreign is None else round(foreign.mean, 5)
        return cls(metric.name, *scores.rounded(), unread, completions)


class Regression(Study[RegressionError]):
    """Study 7."""

    name = "regression"
    question = (
        "Targets may be vectors. How large is the error of each learner on tasks that meta-training did not "
        "show? Three benchmarks: a sine wave from another one of the same task (10 tasks); the angle that a "
        "character is turned by, and the bottom half of a character from its top half (5 unseen characters "
        "each). 5 shots."
    )
    reported = (
        "The paper has sine waves, rotation and completion (reported); its predecessor takes the latter two "
        "from handwriting, CASIA (known). The paper's numbers are not known to us."
    )
    sweeps = tuple(_BENCHMARKS)
    answer = RegressionError

    def ask(self, trained: Trained, scale: Scale) -> RegressionError:
        """The error, on the same episodes for all."""
        experiment, learner = trained.experiment, trained.learner
        source = experiment.source("test")
        score = evaluate(learner, source, scale.episodes).score
        drawn = isinstance(experiment.data, Completion)
        pictures = completed(lambda episode: _answers(learner, episode), source) if drawn else ()
        foreign = evaluate(learner, ForeignStreams(source), scale.episodes).score
        return RegressionError.of(experiment.metric, score, pictures, foreign)

    def ask_yardsticks(self, experiment: Experiment, scale: Scale) -> Mapping[str, RegressionError]:
        """The same of predictors without meta-training."""
        source, metric = experiment.source("test"), experiment.metric
        drawn = isinstance(experiment.data, Completion)
        return {
            name: RegressionError.of(
                metric,
                evaluate_predictor(yardstick, source, scale.episodes, metric=metric),
                completed(yardstick, source) if drawn else (),
            )
            for name, yardstick in VECTOR_YARDSTICKS.items()
        }

    def report(self, told: Sequence[Told[RegressionError]]) -> Report:
        """Errors of all, a panel and a column for each benchmark; completions of some."""
        errors: dict[str, dict[str, list[RegressionError]]] = {}
        yardsticks = {one.learner for one in told if one.outcome is None}
        for one in sorted(told, key=lambda one: one.learner in yardsticks):
            errors.setdefault(one.sweep, {}).setdefault(one.learner, []).append(one.answer)
        asked = [sweep for sweep in self.sweeps if sweep in errors]
        by_benchmark = {sweep: errors[sweep] for sweep in asked}
        # In the order of the sweep with the most rows, yardsticks last.
        longest = sorted(asked, key=lambda sweep: -len(errors[sweep]))
        names = list(dict.fromkeys(name for sweep in longest for name in errors[sweep]))
        names.sort(key=lambda name: name in yardsticks)
        figures = {"errors": _bars(by_benchmark, names, yardsticks)}
        pictures = {
            name: by_benchmark["completion"][name][0].completions
            for name in _DRAWN
            if name in by_benchmark.get("completion", {})
        }
        if pictures:
            figures["completions"] = draw_completions(pictures)
        caption = (
            f"Errors on test episodes: lower is better. {SPREAD} Who is not better than the mean of the "
            "stream's targets has learned nothing. Behind the stroke: the error where the learner has read "
            "another episode's stream; if it is the same, the answers come from the queries alone, and "
            "nothing is remembered."
        )
        headings = ["learner", *(_heading(sweep, each) for sweep, each in by_benchmark.items())]
        rows = [[name, *(_cell(each.get(name, ())) for each in by_benchmark.values())] for name in names]
        return Report(figures, {caption: table(headings, rows)})


def _answers(learner: Learner, episode: Episode) -> Tensor:
    with evaluation_mode(learner):
        state = learner.observe(learner.init_state(episode.batch_size), episode.train_x, episode.train_y)
        return learner.predict(state, episode.test_x)


def _summary(seeds: Sequence[RegressionError]) -> Summary:
    return Summary.of([(one.mean, one.interval) for one in seeds])


def _metric(each: Mapping[str, Sequence[RegressionError]]) -> str:
    return next(iter(each.values()))[0].metric


def _heading(sweep: str, each: Mapping[str, Sequence[RegressionError]]) -> str:
    return f"{_BENCHMARKS[sweep]}: {_metric(each)}"


def _cell(seeds: Sequence[RegressionError]) -> str:
    """The error; behind a stroke that with another episode's stream."""
    if not seeds:
        return "-"
    foreign = [one.foreign for one in seeds if one.foreign is not None]
    told = str(_summary(seeds))
    return f"{told} / {np.mean(foreign):.3f}" if foreign else told


def _bars(
    by_benchmark: Mapping[str, Mapping[str, Sequence[RegressionError]]],
    names: Sequence[str],
    yardsticks: set[str],
) -> Figure:
    """A panel for each benchmark, with scales of their own; yardsticks are hatched, and the mean target's
    error is a line."""
    figure, axes = plt.subplots(
        1,
        len(by_benchmark),
        figsize=(2.5 + 3 * len(by_benchmark), 1.2 + 0.3 * len(names)),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for ax, (sweep, each) in zip(axes.flat, by_benchmark.items(), strict=True):
        ranking = {name: _summary(each[name]) if name in each else None for name in names}
        draw_ranking(ax, ranking, yardsticks)
        if MEAN_TARGET in each:
            ax.axvline(each[MEAN_TARGET][0].mean, color="black", linestyle=":", linewidth=0.8)
        highest = max(told.high for told in ranking.values() if told is not None)
        ax.set(title=_BENCHMARKS[sweep], xlabel=f"{_metric(each)}, lower is better", xlim=(0, 1.25 * highest))
    return figure
