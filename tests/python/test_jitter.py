"""AffineJitter: each amount does what it says, within its limits."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mambacl.data import AffineJitter
from mambacl.errors import ConfigError, DtypeError, ShapeError

NONE = {"degrees": 0.0, "scale": 0.0, "shear": 0.0, "shift": 0.0}
ROTATION, SCALE, SHEAR_X, SHEAR_Y, SHIFT_X, SHIFT_Y = range(6)


def amounts(**changed: float) -> torch.Tensor:
    uniforms = torch.full((1, 6), 0.5)
    for name, value in changed.items():
        uniforms[0, globals()[name]] = value
    return uniforms


def centre_and_spread(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (x, y) and covariance of the ink of a (height, width) image, in pixels."""
    y, x = torch.meshgrid(*(torch.arange(float(n)) for n in image.shape), indexing="ij")
    points, weight = torch.stack([x.flatten(), y.flatten()]), image.flatten() / image.sum()
    centre = points @ weight
    return centre, ((points - centre[:, None]) * weight) @ (points - centre[:, None]).T


def bar(height: int = 32, width: int = 32) -> torch.Tensor:
    image = torch.zeros(1, 1, height, width)
    image[..., height // 2 - 1 : height // 2 + 1, width // 2 - 8 : width // 2 + 8] = 3.0
    return image


def test_the_middle_of_every_amount_changes_nothing():
    images = torch.rand(4, 2, 32, 20)
    jittered = AffineJitter()(images, torch.full((4, 6), 0.5))
    torch.testing.assert_close(jittered, images, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (48, 32)])
def test_rotation_turns_by_degrees(height: int, width: int):
    jitter = AffineJitter(**(NONE | {"degrees": 40.0}))
    _, covariance = centre_and_spread(jitter(bar(height, width), amounts(ROTATION=1.0))[0, 0])
    angle = 0.5 * math.atan2(2 * covariance[0, 1], covariance[0, 0] - covariance[1, 1])
    assert abs(math.degrees(angle)) == pytest.approx(40, abs=1)


@pytest.mark.parametrize(("amount", "size"), [(0.0, 0.8), (0.5, 1.0), (1.0, 1.2)])
def test_scale_changes_the_size(amount: float, size: float):
    jitter = AffineJitter(**(NONE | {"scale": 0.2}))
    _, before = centre_and_spread(bar()[0, 0])
    _, after = centre_and_spread(jitter(bar(), amounts(SCALE=amount))[0, 0])
    assert float((after[0, 0] / before[0, 0]).sqrt()) == pytest.approx(size, abs=0.01)


def test_shift_moves_by_pixels_along_its_own_axis():
    jitter = AffineJitter(**(NONE | {"shift": 3.0}))
    image = bar()
    assert torch.equal(jitter(image, amounts(SHIFT_X=1.0)), image.roll(-3, dims=3))
    assert torch.equal(jitter(image, amounts(SHIFT_Y=0.0)), image.roll(3, dims=2))


def test_shear_slants_by_its_slope():
    jitter = AffineJitter(**(NONE | {"shear": 0.3}))
    _, covariance = centre_and_spread(jitter(bar(), amounts(SHEAR_Y=1.0))[0, 0])
    assert abs(float(covariance[0, 1] / covariance[0, 0])) == pytest.approx(0.3, abs=0.02)


def test_what_comes_in_from_outside_is_background():
    shifted = AffineJitter(**(NONE | {"shift": 8.0}))(torch.ones(1, 1, 32, 32), amounts(SHIFT_X=0.0))
    assert shifted[..., :8].eq(0).all()
    assert shifted[..., 8:].eq(1).all()


@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 9))
def test_an_image_does_not_depend_on_its_batch(seed: int, size: int):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(9, 1, 32, 32, generator=generator)
    uniforms = torch.rand(9, 6, generator=generator)
    whole = AffineJitter()(images, uniforms)
    assert torch.equal(whole[:size], AffineJitter()(images[:size], uniforms[:size]))
    assert whole.min() >= 0
    assert whole.max() <= images.max() + 1e-6


@pytest.mark.parametrize("field", ["degrees", "scale", "shear", "shift"])
def test_limits_must_make_sense(field: str):
    for value in (-0.1, math.nan, math.inf):
        with pytest.raises(ConfigError, match=f"`{field}` must be finite and at least 0"):
            AffineJitter(**{field: value})
    with pytest.raises(ConfigError, match="`scale` must be below 1"):
        AffineJitter(scale=1.0)


def test_wrong_tensors_are_named():
    jitter = AffineJitter()
    with pytest.raises(ShapeError, match=r"`images` must have shape .* got \(32, 32\)"):
        jitter(torch.zeros(32, 32), torch.zeros(1, 6))
    with pytest.raises(DtypeError, match=r"`images` must be floating point, got torch\.uint8"):
        jitter(torch.zeros(1, 1, 32, 32, dtype=torch.uint8), torch.zeros(1, 6))
    with pytest.raises(ShapeError, match=r"`uniforms` must have shape \(2, 6\), got \(1, 6\)"):
        jitter(torch.zeros(2, 1, 32, 32), torch.zeros(1, 6))
