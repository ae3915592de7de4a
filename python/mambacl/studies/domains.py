"""A shift of domain: faces and drawings unlike those of meta-training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mambacl.experiments.experiment import Experiment
from mambacl.experiments.trained import Trained
from mambacl.report.markdown import table
from mambacl.studies.conditions import ByCondition, ask_class_yardsticks, ask_learner, summaries
from mambacl.studies.domain_figure import draw_domains
from mambacl.studies.domain_parts import DESIGNS, FACES, OMNIGLOT, PARTS, PIXELS, omniglot_folder, sources
from mambacl.studies.scale import Scale
from mambacl.studies.study import Report, Study, Told, answers_by_learner
from mambacl.studies.summary import SPREAD

_WITHOUT_OMNIGLOT = (
    f"Omniglot was not there, so learners of pixels are left out. With `{OMNIGLOT}` set to the folder of its "
    "`small 1` part (`mambacl data show omniglot-small1`) the same command asks them."
)


class Domains(Study[ByCondition]):
    """Study 5."""

    name = "domains"
    question = (
        "What is left of a learner on inputs unlike those of meta-training? Frozen features: encoder and "
        "learners know print faces only, and are asked of unseen characters in print, brush, hand and "
        "display faces. Emoji: learners know four coloured designs, and are asked of unseen emoji in four "
        "others, two of which are black and white, one of these by a vendor whose coloured design they know. "
        "Pixels: learners know all typefaces of hanzi21, and are asked of characters that people drew, those "
        "of Omniglot. 5 classes."
    )
    reported = (
        "The paper has a study of shifts of domain, among others on DomainNet (reported); its numbers are "
        "not known to us, and our domains are others."
    )
    sweeps = (FACES, DESIGNS, PIXELS)
    answer = ByCondition

    def asks(self, sweep: str, learner: str) -> bool:
        """Learners of pixels only where Omniglot is.

        Raises:
            DataError: If the folder that the environment variable names is not there.
        """
        return sweep != PIXELS or omniglot_folder() is not None

    def ask(self, trained: Trained, scale: Scale) -> ByCondition:
        """Accuracy in each domain, on the same episodes for all learners of a sweep."""
        return ask_learner(trained.learner, sources(trained.experiment, scale), scale.episodes)

    def ask_yardsticks(self, experiment: Experiment, scale: Scale) -> Mapping[str, ByCondition]:
        """The same of predictors without meta-training, on the features or the pixels."""
        return ask_class_yardsticks(sources(experiment, scale), scale.episodes)

    def report(self, told: Sequence[Told[ByCondition]]) -> Report:
        """Bars, domains with as many shots beside one another; a table for each sweep."""
        by_sweep = {
            sweep: answers
            for sweep in self.sweeps
            if (answers := answers_by_learner(one for one in told if one.sweep == sweep))
        }
        tables: dict[str, str] = {}
        for sweep, answers in by_sweep.items():
            conditions = list(next(iter(answers.values()))[0].scores)
            rows = [[name, *summaries(each, conditions)] for name, each in answers.items()]
            text = [[str(cell) for cell in row] for row in rows]
            tables[f"Accuracy by domain, {PARTS[sweep].caption} {SPREAD}"] = table(
                ["learner", *conditions], text
            )
        experiment = next(one.outcome.experiment for one in told if one.outcome is not None)
        return Report(
            {"domains": draw_domains(by_sweep, 1 / experiment.data.tasks)},
            tables,
            notes=() if PIXELS in by_sweep else (_WITHOUT_OMNIGLOT,),
        )
