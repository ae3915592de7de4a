"""Settings of a learner: frozen dataclasses that mirror the engine's, which checks their values."""

from mambacl.config.encoders import CnnEncoder, Encoder, VectorEncoder
from mambacl.config.feed_forwards import ExpertsFeedForward, FeedForward, MlpFeedForward, NoFeedForward
from mambacl.config.learners import (
    LEARNERS,
    AnmlConfig,
    BayesConfig,
    GemclConfig,
    LearnerConfig,
    OmlConfig,
    PrototypeConfig,
    SequenceConfig,
    kinds,
)
from mambacl.config.mixers import (
    AttentionMixer,
    GatedDeltaNetMixer,
    InitialDecay,
    LinearAttentionMixer,
    Mamba2Mixer,
    Mamba3Mixer,
    MambaMixer,
    Mixer,
    PerformerMixer,
    RecurrentMixer,
)
from mambacl.config.selectivity import Selectivity
from mambacl.config.targets import AngleTarget, ClassTarget, Target, VectorTarget

__all__ = [
    "LEARNERS",
    "AngleTarget",
    "AnmlConfig",
    "AttentionMixer",
    "BayesConfig",
    "ClassTarget",
    "CnnEncoder",
    "Encoder",
    "ExpertsFeedForward",
    "FeedForward",
    "GatedDeltaNetMixer",
    "GemclConfig",
    "InitialDecay",
    "LearnerConfig",
    "LinearAttentionMixer",
    "Mamba2Mixer",
    "Mamba3Mixer",
    "MambaMixer",
    "Mixer",
    "MlpFeedForward",
    "NoFeedForward",
    "OmlConfig",
    "PerformerMixer",
    "PrototypeConfig",
    "RecurrentMixer",
    "Selectivity",
    "SequenceConfig",
    "Target",
    "VectorEncoder",
    "VectorTarget",
    "kinds",
]
