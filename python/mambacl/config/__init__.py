"""Settings of a learner: frozen dataclasses that mirror the engine's, which checks their values."""

from mambacl.config.encoders import CnnEncoder, Encoder, VectorEncoder
from mambacl.config.feed_forwards import ExpertsFeedForward, FeedForward, MlpFeedForward, NoFeedForward
from mambacl.config.learners import (
    LEARNERS,
    BayesConfig,
    GemclConfig,
    LearnerConfig,
    PrototypeConfig,
    SequenceConfig,
    kinds,
)
from mambacl.config.mixers import (
    AttentionMixer,
    LinearAttentionMixer,
    Mamba2Mixer,
    MambaMixer,
    Mixer,
    PerformerMixer,
)
from mambacl.config.selectivity import Selectivity
from mambacl.config.targets import AngleTarget, ClassTarget, Target, VectorTarget

__all__ = [
    "LEARNERS",
    "AngleTarget",
    "AttentionMixer",
    "BayesConfig",
    "ClassTarget",
    "CnnEncoder",
    "Encoder",
    "ExpertsFeedForward",
    "FeedForward",
    "GemclConfig",
    "LearnerConfig",
    "LinearAttentionMixer",
    "Mamba2Mixer",
    "MambaMixer",
    "Mixer",
    "MlpFeedForward",
    "NoFeedForward",
    "PerformerMixer",
    "PrototypeConfig",
    "Selectivity",
    "SequenceConfig",
    "Target",
    "VectorEncoder",
    "VectorTarget",
    "kinds",
]
