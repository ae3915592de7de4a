"""Layers for networks of one's own."""

from mambacl.nn.mamba import Mamba, MambaState

__all__ = ["Mamba", "MambaState"]
