"""Run folders: what a meta-training leaves on disk, and goes on from."""

from mambacl.runs.checkpoint import Checkpoint
from mambacl.runs.folder import RunFolder

__all__ = ["Checkpoint", "RunFolder"]
