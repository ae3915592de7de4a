"""Meta-training: episodes in, a learner out."""

from mambacl.training.captured import CapturedStep
from mambacl.training.config import TrainConfig
from mambacl.training.history import History, StepRecord, ValidationRecord
from mambacl.training.meta_train import meta_train
from mambacl.training.trainer import Trainer

__all__ = [
    "CapturedStep",
    "History",
    "StepRecord",
    "TrainConfig",
    "Trainer",
    "ValidationRecord",
    "meta_train",
]
