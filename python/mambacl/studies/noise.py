"""Gaussian noise on the inputs: on features, and on images before an encoder that is learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from mambacl.evaluation import evaluate
from mambacl.experiments.experiment import Experiment
from mambacl.experiments.trained import Trained
from mambacl.settings import Settings
from mambacl.studies.curve import Curve, Line, Point, draw_lines, lines, lines_table, yardstick_curves
from mambacl.studies.noisy_episodes import NoisyEpisodes
from mambacl.studies.scale import Scale
from mambacl.studies.sequence_learners import UNGUIDED
from mambacl.studies.study import Report, Study, Told
from mambacl.studies.summary import SPREAD

FEATURES, IMAGES = "sequence-learners", "pixels-5x5"
STDS = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

_ASKED_UNGUIDED = tuple(name + UNGUIDED for name in ("mamba", "transformer", "linear-transformer"))
_UNIT_EPISODES = 20


@dataclass(frozen=True)
class NoiseCurve(Settings):
    """Accuracy by the noise.

    Attributes:
        unit: A standard deviation of 1 in the units of the inputs.
        curve: By the standard deviation, in that unit.
    """

    unit: float
    curve: Curve


class Noise(Study[NoiseCurve]):
    """Study 4."""

    name = "noise"
    question = (
        "Trained without noise, what does a learner make of Gaussian noise on every input, of the stream and "
        "of the queries? On the embedding, frozen features of unseen characters; and, separately, on the "
        "image, before an encoder that was trained with the learner. 5 tasks, 5 shots."
    )
    reported = (
        "The paper has a study of noise on the inputs, up to a standard deviation of 10 (reported); its "
        "numbers are not known to us. Reviewers asked whether the noise is on the image or on the embedding "
        "(known)."
    )
    sweeps = (FEATURES, IMAGES)
    answer = NoiseCurve

    def asks(self, sweep: str, learner: str) -> bool:
        """All with the regulariser and three without."""
        del sweep
        return not learner.endswith(UNGUIDED) or learner in _ASKED_UNGUIDED

    def ask(self, trained: Trained, scale: Scale) -> NoiseCurve:
        """Accuracy by the noise, on the same episodes for all."""
        unit = noise_unit(trained.experiment)
        points: list[Point] = []
        for std in scale.some(STDS):
            found = evaluate(trained.learner, noisy(trained.experiment, std * unit), scale.episodes)
            points.append(Point.of(std, found.score))
        return NoiseCurve(round(unit, 5), Curve(tuple(points)))

    def ask_yardsticks(self, experiment: Experiment, scale: Scale) -> Mapping[str, NoiseCurve]:
        """The same of predictors without meta-training."""
        unit = noise_unit(experiment)
        curves = yardstick_curves(scale.some(STDS), lambda std: noisy(experiment, std * unit), scale.episodes)
        return {name: NoiseCurve(round(unit, 5), curve) for name, curve in curves.items()}

    def report(self, told: Sequence[Told[NoiseCurve]]) -> Report:
        """Embedding and image beside one another, of learners that both were asked of; then the others."""
        on_features, on_images = (_lines(told, sweep) for sweep in self.sweeps)
        both = {line.name for line in on_images}
        unguided = [line for line in on_features if line.name in _ASKED_UNGUIDED]
        unit = next((one.answer.unit for one in told if one.sweep == FEATURES), 1.0)
        feature_axis = f"std of the noise, in units of {unit:.3f}, that of the features"
        panels = {
            "noise": (
                _Panel("on the embedding", feature_axis, [line for line in on_features if line.name in both]),
                _Panel("on the image", "std of the noise, of pixels from -1 to 1", on_images),
            ),
            "embedding": (
                _Panel(
                    "other learners, on the embedding",
                    feature_axis,
                    [line for line in on_features if line.name not in both and line not in unguided],
                ),
                _Panel(
                    "without the regulariser, on the embedding",
                    feature_axis,
                    [Line(line.name.removesuffix(UNGUIDED), line.seeds) for line in unguided],
                ),
            ),
        }
        names = dict.fromkeys(line.name for panel in sum(panels.values(), ()) for line in panel.lines)
        styles = {name: number for number, name in enumerate(names)}
        experiment = next(one.outcome.experiment for one in told if one.outcome is not None)
        figures = {
            name: _figure(each, styles, 1 / experiment.data.tasks)
            for name, each in panels.items()
            if any(panel.lines for panel in each)
        }
        tables = {
            f"Accuracy by the standard deviation of the noise on {what}. {SPREAD}": lines_table(each, "std")
            for each, what in (
                (on_features, f"the embedding, in units of {unit:.3f}, that of the features"),
                (on_images, "the image, whose pixels are from -1 to 1"),
            )
            if each
        }
        return Report(figures, tables)


@dataclass(frozen=True)
class _Panel:
    title: str
    xlabel: str
    lines: Sequence[Line]


def noise_unit(experiment: Experiment) -> float:
    """What noise is measured in: of features their own standard deviation, over all coordinates of the
    streams of the first test episodes; of images, which are from -1 to 1, it is 1."""
    if len(experiment.data.input_shape) > 1:
        return 1.0
    return float(experiment.source("test").batch(0, _UNIT_EPISODES).train_x.double().std())


def noisy(experiment: Experiment, std: float) -> NoisyEpisodes:
    """Test episodes with noise."""
    return NoisyEpisodes(experiment.source("test"), std)


def _lines(told: Sequence[Told[NoiseCurve]], sweep: str) -> list[Line]:
    return lines(
        Told(one.sweep, one.learner, one.answer.curve, one.seed, one.outcome)
        for one in told
        if one.sweep == sweep
    )


def _figure(panels: Sequence[_Panel], styles: Mapping[str, int], chance: float) -> Figure:
    drawn = [panel for panel in panels if panel.lines]
    figure, axes = plt.subplots(1, len(drawn), figsize=(5 * len(drawn), 4.2), sharey=True, squeeze=False)
    for ax, panel in zip(axes.flat, drawn, strict=True):
        ax.axhline(chance, color="black", linewidth=0.8, label="chance")
        draw_lines(ax, panel.lines, xlabel=panel.xlabel, styles=styles)
        # Linear up to the smallest noise, so that none of it has a place.
        ax.set_xscale("symlog", linthresh=STDS[1], linscale=0.4)
        ax.set(title=panel.title, xlim=(-0.03, 1.2 * STDS[-1]), ylim=(0, 1.02))
        ax.set_xticks(panel.lines[0].at, [f"{at:g}" for at in panel.lines[0].at])
        ax.minorticks_off()
    figure.tight_layout()
    return figure
