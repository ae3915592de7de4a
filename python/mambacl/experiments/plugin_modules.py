"""`[plugins]` of an experiment: the modules that register its kind of learner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mambacl.config import LEARNERS, LearnerConfig
from mambacl.config.plugin_kinds import PLUGINS
from mambacl.importing import import_named
from mambacl.settings import Settings


@dataclass(frozen=True)
class Plugins(Settings):
    """Where learners written in Python come from.

    Attributes:
        modules: Each registers kinds with `mambacl.register` when it is imported. They must be installed or
            on PYTHONPATH.
    """

    modules: tuple[str, ...] = ()

    def load(self, model: Mapping[str, Any]) -> None:
        """Imports the modules, unless the kind of learner is known already.

        Args:
            model: The table `[model]`.

        Raises:
            ConfigError: If one cannot be imported.
        """
        kind = model.get("kind")
        if kind is None or (isinstance(kind, str) and (kind in LEARNERS or kind in PLUGINS)):
            return
        for module in self.modules:
            import_named(module, "plugins")


def needed(model: LearnerConfig) -> tuple[str, ...]:
    """The modules that settings need beside mambacl: the one that defines a kind written in Python."""
    return () if model.kind in LEARNERS else (type(model).__module__,)
