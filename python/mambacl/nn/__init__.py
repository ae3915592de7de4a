"""Layers for networks of one's own."""

from mambacl.nn.mamba import Mamba

__all__ = ["Mamba"]
