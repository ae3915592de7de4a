"""Data sets of small images: many classes, few examples of each."""

from mambacl.data import hanzi21
from mambacl.data.classes import ImageClasses
from mambacl.data.jitter import AffineJitter
from mambacl.data.splits import Split

__all__ = ["AffineJitter", "ImageClasses", "Split", "hanzi21"]
