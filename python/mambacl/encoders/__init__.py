"""Frozen encoders: pictures and texts to vectors, by weights that never change."""

from mambacl.encoders.frozen_encoder import FrozenEncoder
from mambacl.encoders.glyph_encoder import GlyphEncoder, GlyphFaces, load_glyph_encoder
from mambacl.encoders.registry import KnownEncoder, frozen_encoder, frozen_encoders

__all__ = [
    "FrozenEncoder",
    "GlyphEncoder",
    "GlyphFaces",
    "KnownEncoder",
    "frozen_encoder",
    "frozen_encoders",
    "load_glyph_encoder",
]
