"""FeatureClasses: which vector an example shows, and what is refused."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mambacl.data import FeatureClasses
from mambacl.errors import DtypeError, ShapeError


def feature_classes(views: int = 4) -> FeatureClasses:
    """Classes of 3, 1 and 2 images; each vector is (image, view)."""
    images, view = torch.meshgrid(torch.arange(6), torch.arange(views), indexing="ij")
    return FeatureClasses(
        features=torch.stack([images, view], dim=-1).half(),
        examples_per_class=torch.tensor([3, 1, 2]),
        names=("a", "b", "c"),
        domains=torch.tensor([0, 1, 2, 1, 0, 2]),
        domain_names=("x", "y", "z"),
    )


@given(views=st.integers(1, 33), number=st.integers(0, 2**24 - 1))
def test_a_uniform_number_shows_the_view_of_its_share(views: int, number: int):
    shown = feature_classes(views).inputs(
        torch.tensor([2]), torch.tensor([1]), torch.tensor([[number / 2**24]])
    )
    assert shown.dtype == torch.float32
    assert shown.tolist() == [[5, number * views // 2**24]]


def test_every_image_is_found_by_class_and_example():
    classes = torch.tensor([0, 0, 0, 1, 2, 2])
    examples = torch.tensor([0, 1, 2, 0, 0, 1])
    shown = feature_classes().inputs(classes, examples, torch.zeros(6, 1))
    assert shown[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert (len(feature_classes()), feature_classes().views, feature_classes().dim) == (3, 4, 2)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"features": torch.zeros(6, 2)}, ShapeError, r"`features` must have shape .* got \(6, 2\)"),
        ({"features": torch.zeros(6, 0, 2)}, ShapeError, r"`features` must have shape .* got \(6, 0, 2\)"),
        ({"features": torch.zeros(6, 4, 2).double()}, DtypeError, r"float16 or float32, got torch\.float64"),
        (
            {"examples_per_class": torch.tensor([3, 1, 3])},
            ShapeError,
            r"3 numbers that sum to 6, got shape \(3,\) and sum 7",
        ),
        ({"names": ("a", "b")}, ShapeError, "must hold 2 numbers that sum to 6"),
        ({"domains": torch.zeros(5)}, ShapeError, r"`domains` must have shape \(6,\), got \(5,\)"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, object], error: type, message: str):
    with pytest.raises(error, match=message):
        dataclasses.replace(feature_classes(), **changes)
