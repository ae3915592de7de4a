"""Data sets by name."""

from __future__ import annotations

from mambacl import nearest
from mambacl.data.sets.casia_hwdb import CASIA_HWDB
from mambacl.data.sets.cifar100 import CIFAR_100
from mambacl.data.sets.cub import CUB_200_2011
from mambacl.data.sets.data_set import DataSet
from mambacl.data.sets.domainnet import DOMAIN_NET
from mambacl.data.sets.emoji import Emoji
from mambacl.data.sets.fgvc_aircraft import FGVC_AIRCRAFT
from mambacl.data.sets.glosses import Glosses
from mambacl.data.sets.hanzi21_pictures import Hanzi21
from mambacl.data.sets.hugging_face import PREFIX, hugging_face
from mambacl.data.sets.image_folder import FOLDER, IMAGENET_1K, IMAGENET_R, MS_CELEB_1M, STANFORD_DOGS
from mambacl.data.sets.omniglot import OMNIGLOT, OMNIGLOT_SMALL1
from mambacl.data.sets.stanford_cars import STANFORD_CARS

_SETS: tuple[DataSet, ...] = (
    Hanzi21(),
    Emoji(),
    Glosses(),
    CIFAR_100,
    OMNIGLOT,
    OMNIGLOT_SMALL1,
    CASIA_HWDB,
    MS_CELEB_1M,
    IMAGENET_1K,
    IMAGENET_R,
    CUB_200_2011,
    STANFORD_DOGS,
    STANFORD_CARS,
    FGVC_AIRCRAFT,
    DOMAIN_NET,
    FOLDER,
)


def data_sets() -> tuple[DataSet, ...]:
    """All that are known, in the order of a list to read, but those of the Hugging Face hub."""
    return _SETS


def data_set(name: str) -> DataSet:
    """The data set of a name.

    Args:
        name: Of `data_sets()`, or hf:ORG/NAME for one of the Hugging Face hub.

    Raises:
        ConfigError: If there is none; with the nearest name.

    Examples:
        >>> data_set("hanzi21").kind
        'images'
    """
    if name.startswith(PREFIX):
        return hugging_face(name)
    return nearest.found("data set", name, {known.name: known for known in _SETS}, f"{PREFIX}ORG/NAME")
