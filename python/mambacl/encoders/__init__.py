"""Frozen encoders that come with the package, and their training."""

from mambacl.encoders.glyph_encoder import GlyphEncoder, GlyphFaces, load_glyph_encoder

__all__ = ["GlyphEncoder", "GlyphFaces", "load_glyph_encoder"]
