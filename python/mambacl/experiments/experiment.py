"""An experiment: all that a run is a function of, besides its seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mambacl import settings
from mambacl.config import LearnerConfig, SequenceConfig
from mambacl.data import Split
from mambacl.episodes import SizedEpisodes
from mambacl.errors import ConfigError, InvalidValueError
from mambacl.evaluation import Metric, metric_of
from mambacl.experiments.data import Data, Hanzi21Images
from mambacl.experiments.kinds import check_kinds
from mambacl.experiments.plugin_modules import Plugins, needed
from mambacl.experiments.tables import merge
from mambacl.learner import Learner
from mambacl.settings import Settings
from mambacl.training import TrainConfig

EVALUATION_SEED = 0
"""Of meta-validation and meta-test episodes: the same for every run, so that runs are compared on identical
episodes."""


@dataclass(frozen=True)
class Experiment(Settings):
    """All that a run is a function of, besides its seed, and what to expect of it.

    Attributes:
        name: Of its file.
        purpose: What it is for.
        expected: The score that was measured.
        time: How long that took, and on what.
        model: The learner.
        train: Its meta-training.
        data: Its episodes.
        plugins: Modules that register kinds of learners.
    """

    name: str
    purpose: str = ""
    expected: str = ""
    time: str = ""
    model: LearnerConfig = field(default_factory=SequenceConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    data: Data = field(default_factory=Hanzi21Images)
    plugins: Plugins = field(default_factory=Plugins)

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Experiment:
        """The experiment of a table, as its TOML file has it.

        Args:
            table: With `name` and, if they are not all defaults, `model`, `train`, `data` and `plugins`,
                whose modules are imported.

        Returns:
            The experiment.

        Raises:
            ConfigError: If a key is unknown (with the nearest that is known), or a value is of another type
                or out of its range, or model and data do not fit, or a module of `plugins` cannot be
                imported.
        """
        table = dict(table)
        parts = {name: table.pop(name, {}) for name in ("model", "train", "data", "plugins")}
        for name, part in parts.items():
            if not isinstance(part, Mapping):
                raise ConfigError(f"experiment: `{name}` must be a table, got {part!r}")
        plugins = settings.read(Plugins, parts["plugins"], "plugins")
        plugins.load(parts["model"])
        check_kinds(parts["model"])
        model = LearnerConfig.from_table(parts["model"])
        train = settings.read(TrainConfig, parts["train"], "train")
        data = settings.read(_Data, {"data": {"kind": "hanzi21", **parts["data"]}}, "").data
        own = settings.read(cls, table, "experiment", named=False)
        experiment = replace(own, model=model, train=train, data=data, plugins=plugins)
        experiment.check()
        return experiment

    def check(self) -> None:
        """Checks that the model can read the data.

        Raises:
            ConfigError: If it cannot.
        """
        self.data.check_target(self.model.target, self.data.tasks, "data.tasks")
        shape = self.model.encoder.input_shape
        if shape != self.data.input_shape:
            raise ConfigError(
                f"experiment: `model.encoder` must take inputs of shape {self.data.input_shape}, "
                f"as `data` of kind {self.data.kind!r} has, got {shape}"
            )

    def changed(self, changes: Mapping[str, Any]) -> Experiment:
        """The experiment with some of its settings changed.

        Args:
            changes: A table that is laid over its own.

        Raises:
            ConfigError: As `from_table`.

        Examples:
            >>> Experiment("glyphs").changed({"data": {"compound": 3}}).data.compound
            3
        """
        return self.from_table(merge(settings.table(self), changes))

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules that a run of this needs beside mambacl: that of a learner written in Python."""
        return needed(self.model)

    @property
    def metric(self) -> Metric:
        """What learners are compared by."""
        return metric_of(self.model.target)

    def learner(self, seed: int) -> Learner:
        """The learner before training."""
        return Learner(self.model, seed=seed)

    def source(
        self,
        split: Split,
        seed: int | None = None,
        *,
        tasks: int | None = None,
        train_shots: int | None = None,
    ) -> SizedEpisodes:
        """Episodes of a split.

        Args:
            split: "train", "validation" or "test".
            seed: Of the run, for "train"; the others have `EVALUATION_SEED` for any run.
            tasks: Of an episode; None for the experiment's.
            train_shots: Examples read of each; None for the experiment's.

        Returns:
            The episodes.

        Raises:
            ConfigError: If there are more tasks than the vocabulary has symbols.
            InvalidValueError: If "train" is given no seed, or the split has too few classes or examples.
        """
        if split != "train":
            seed = EVALUATION_SEED
        elif seed is None:
            raise InvalidValueError('experiment: `seed` must be that of the run for "train", got None')
        sizes = self.data.sizes(split, tasks, train_shots)
        self.data.check_target(self.model.target, sizes.tasks, "tasks")
        return self.data.episodes(self.model.target, sizes, seed, split)


@dataclass(frozen=True)
class _Data(Settings):
    """[data] behind its name, so that its kind is read as that of a union's member."""

    data: Data
