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
from mambacl.config import (
    AngleTarget,
    AnmlConfig,
    AttentionMixer,
    BayesConfig,
    ClassTarget,
    CnnEncoder,
    ExpertsFeedForward,
    GatedDeltaNetMixer,
    GemclConfig,
    LearnerConfig,
    LinearAttentionMixer,
    Mamba2Mixer,
    Mamba3Mixer,
    MambaMixer,
    MlpFeedForward,
    NoFeedForward,
    OmlConfig,
    PerformerMixer,
    PrototypeConfig,
    Selectivity,
    SequenceConfig,
    VectorEncoder,
    VectorTarget,
)
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
from mambacl.layer_states import (
    AttentionState,
    BayesState,
    FastState,
    GatedDeltaNetState,
    GemclState,
    LinearAttentionState,
    Mamba2State,
    Mamba3State,
    MambaState,
    PerformerState,
    PrototypeState,
)
from mambacl.learner import EpisodeOutput, Learner
from mambacl.state import LearnerState
from mambacl.trace import Keys, Trace
from mambacl.training import History, TrainConfig, meta_train

if TYPE_CHECKING:
    from mambacl.streams import ContinualClassifier, ContinualRegressor

__all__ = [
    "AccuracyMatrix",
    "AngleTarget",
    "AnmlConfig",
    "AttentionMixer",
    "AttentionState",
    "BayesConfig",
    "BayesState",
    "Calibration",
    "ClassTarget",
    "CnnEncoder",
    "ContinualClassifier",
    "ContinualRegressor",
    "Episode",
    "EpisodeDataset",
    "EpisodeOutput",
    "EpisodeSource",
    "EpisodeSpec",
    "Evaluation",
    "ExpertsFeedForward",
    "FastState",
    "GatedDeltaNetMixer",
    "GatedDeltaNetState",
    "GemclConfig",
    "GemclState",
    "History",
    "Interval",
    "Keys",
    "Learner",
    "LearnerConfig",
    "LearnerState",
    "LinearAttentionMixer",
    "LinearAttentionState",
    "Mamba2Mixer",
    "Mamba2State",
    "Mamba3Mixer",
    "Mamba3State",
    "MambaMixer",
    "MambaState",
    "MlpFeedForward",
    "NoFeedForward",
    "OmlConfig",
    "PerformerMixer",
    "PerformerState",
    "PrototypeConfig",
    "PrototypeState",
    "Scores",
    "Selectivity",
    "SequenceConfig",
    "Trace",
    "TrainConfig",
    "VectorEncoder",
    "VectorTarget",
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
    "save_learner",
    "save_state",
]


def __getattr__(name: str) -> Any:
    """The estimators, when they are asked for: scikit-learn takes a second to import."""
    if name in ("ContinualClassifier", "ContinualRegressor"):
        from mambacl import streams

        return getattr(streams, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
