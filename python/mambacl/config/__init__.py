"""Settings of a learner: frozen dataclasses generated from the engine's, which checks their values."""

from mambacl.config import generated
from mambacl.config.bases import LEARNERS
from mambacl.config.generated import *  # noqa: F403
from mambacl.config.generated import KINDS, Encoder, FeedForward, Mixer, Target

__all__ = ["KINDS", "LEARNERS", "Encoder", "FeedForward", "Mixer", "Target"]
__all__ += generated.__all__
