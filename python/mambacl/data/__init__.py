"""Data sets of small images and their features: many classes, few examples of each."""

from mambacl.data import hanzi21, hanzi21_features
from mambacl.data.classes import Classes
from mambacl.data.feature_classes import FeatureClasses
from mambacl.data.feature_file import feature_file, write_feature_file
from mambacl.data.features import features
from mambacl.data.image_classes import ImageClasses
from mambacl.data.jitter import AffineJitter
from mambacl.data.splits import Split

__all__ = [
    "AffineJitter",
    "Classes",
    "FeatureClasses",
    "ImageClasses",
    "Split",
    "feature_file",
    "features",
    "hanzi21",
    "hanzi21_features",
    "write_feature_file",
]
