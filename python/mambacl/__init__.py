"""Meta-learned continual learning with selective state-space models.

A continual learner is a state and two verbs: `observe(state, x, y)` reads labelled examples in order,
`predict(state, x)` answers queries. See `Learner`.
"""

from mambacl import _forks, _requirements

# Before the imports below load the engine. This imports torch, where the engine's C++ symbols live.
_requirements.check()
_forks.run_on_one_thread()

# ruff: noqa: E402
from typing import TYPE_CHECKING, Any

from mambacl import errors, nn, ops
from mambacl._core import __version__
from mambacl.config import generated as _settings
from mambacl.config.generated import *  # noqa: F403
from mambacl.episodes import Episode, EpisodeDataset, EpisodeSource, EpisodeSpec
from mambacl.evaluation import (
    AccuracyMatrix,
    Calibration,
    Evaluation,
    Interval,
    Scores,
    accuracy_matrix,
    evaluate,
    evaluate_predictor,
    over_seeds,
    paired_difference,
    paired_over_seeds,
)
from mambacl.experiments.trained import load_run
from mambacl.files import load_learner, load_state, save_learner, save_state
from mambacl.layer_state import LayerState
from mambacl.learner import EpisodeOutput, Learner
from mambacl.nn.mamba import MambaState
from mambacl.plugins import register
from mambacl.state import LearnerState
from mambacl.trace import Keys, Trace
from mambacl.training import History, TrainConfig, meta_train

if TYPE_CHECKING:
    from mambacl.streams import ContinualClassifier, ContinualRegressor

__all__ = [
    "AccuracyMatrix",
    "Calibration",
    "ContinualClassifier",
    "ContinualRegressor",
    "Episode",
    "EpisodeDataset",
    "EpisodeOutput",
    "EpisodeSource",
    "EpisodeSpec",
    "Evaluation",
    "History",
    "Interval",
    "Keys",
    "LayerState",
    "Learner",
    "LearnerState",
    "MambaState",
    "Scores",
    "Trace",
    "TrainConfig",
    "__version__",
    "accuracy_matrix",
    "errors",
    "evaluate",
    "evaluate_predictor",
    "load_learner",
    "load_run",
    "load_state",
    "meta_train",
    "nn",
    "ops",
    "over_seeds",
    "paired_difference",
    "paired_over_seeds",
    "register",
    "save_learner",
    "save_state",
]
__all__ += _settings.__all__


def __getattr__(name: str) -> Any:
    """The estimators, when they are asked for: scikit-learn takes a second to import."""
    if name in ("ContinualClassifier", "ContinualRegressor"):
        from mambacl import streams

        return getattr(streams, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
