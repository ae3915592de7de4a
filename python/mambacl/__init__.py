"""Meta-learned continual learning with selective state-space models.

A continual learner is a state and two verbs: `observe(state, x, y)` reads labelled examples in order,
`predict(state, x)` answers queries. See `Learner`.
"""

from mambacl import _requirements

# Before the imports below load the engine. This imports torch, where the engine's C++ symbols live.
_requirements.check()

# ruff: noqa: E402
from mambacl import errors, nn, ops
from mambacl._core import __version__
from mambacl.config import (
    AngleTarget,
    ClassTarget,
    CnnEncoder,
    LearnerConfig,
    MambaMixer,
    Selectivity,
    VectorEncoder,
    VectorTarget,
)
from mambacl.episodes import Episode, EpisodeDataset, EpisodeSource, EpisodeSpec
from mambacl.evaluate import Scores, evaluate, evaluate_predictor
from mambacl.learner import EpisodeOutput, Learner
from mambacl.state import Keys, LearnerState, MambaState, Trace
from mambacl.train import History, TrainConfig, meta_train

__all__ = [
    "AngleTarget",
    "ClassTarget",
    "CnnEncoder",
    "Episode",
    "EpisodeDataset",
    "EpisodeOutput",
    "EpisodeSource",
    "EpisodeSpec",
    "History",
    "Keys",
    "Learner",
    "LearnerConfig",
    "LearnerState",
    "MambaMixer",
    "MambaState",
    "Scores",
    "Selectivity",
    "Trace",
    "TrainConfig",
    "VectorEncoder",
    "VectorTarget",
    "__version__",
    "errors",
    "evaluate",
    "evaluate_predictor",
    "meta_train",
    "nn",
    "ops",
]
