"""Random affine jitter of images, as a pure function of given uniform numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mambacl.errors import ConfigError, DtypeError, ShapeError


@dataclass(frozen=True)
class AffineJitter:
    """Rotates, scales, shears and shifts each image by its own random amounts.

    Each amount is uniform within its field's limits. The background must be 0: what comes in from
    outside the image is 0.

    Attributes:
        degrees: Rotation up to this angle to either side, degrees.
        scale: Size from `1 - scale` to `1 + scale`, less than 1.
        shear: Shear up to this slope to either side, along each axis.
        shift: Shift up to this many pixels to either side, along each axis.

    Raises:
        ConfigError: If a field is negative or not finite, or `scale` is not below 1.

    Examples:
        >>> images, uniforms = torch.rand(5, 1, 32, 32), torch.rand(5, AffineJitter.UNIFORMS)
        >>> AffineJitter()(images, uniforms).shape
        torch.Size([5, 1, 32, 32])
    """

    degrees: float = 12.0
    scale: float = 0.1
    shear: float = 0.1
    shift: float = 3.0

    UNIFORMS = 6
    """Numbers used per image: rotation, scale, shear x, shear y, shift x, shift y."""

    def __post_init__(self) -> None:
        for name in ("degrees", "scale", "shear", "shift"):
            value: float = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ConfigError(f"AffineJitter: `{name}` must be finite and at least 0, got {value}")
        if self.scale >= 1:
            raise ConfigError(f"AffineJitter: `scale` must be below 1, got {self.scale}")

    def __call__(self, images: Tensor, uniforms: Tensor) -> Tensor:
        """Jitters images.

        Args:
            images: (n, channels, height, width), floating point.
            uniforms: Numbers in [0, 1), (n, 6); 0.5 everywhere leaves an image as it is.

        Returns:
            The jittered images, shape and dtype of `images`, bilinearly interpolated.

        Raises:
            ShapeError: If `images` is not 4-dimensional, or `uniforms` not (n, 6).
            DtypeError: If `images` is not floating point.
        """
        if images.ndim != 4:
            raise ShapeError(
                "AffineJitter: argument `images` must have shape (n, channels, height, width), "
                f"got {tuple(images.shape)}"
            )
        if not images.is_floating_point():
            raise DtypeError(f"AffineJitter: argument `images` must be floating point, got {images.dtype}")
        if uniforms.shape != (len(images), self.UNIFORMS):
            raise ShapeError(
                f"AffineJitter: argument `uniforms` must have shape {(len(images), self.UNIFORMS)}, "
                f"got {tuple(uniforms.shape)}"
            )
        height, width = images.shape[-2:]
        matrix, shift = self._transforms(uniforms.to(images.dtype))
        y = (torch.arange(height, device=images.device, dtype=images.dtype) - (height - 1) / 2).view(1, -1, 1)
        x = (torch.arange(width, device=images.device, dtype=images.dtype) - (width - 1) / 2).view(1, 1, -1)
        # Products and sums element by element, unlike the matrix product of affine_grid, give the same
        # bits whatever the number of images: an episode does not depend on the batch it is drawn in.
        from_x, from_y = (
            row[:, 0, None, None] * x + row[:, 1, None, None] * y + offset[:, None, None]
            for row, offset in zip(matrix.unbind(1), shift.unbind(1), strict=True)
        )  # (n, height, width) each, pixels from the centre
        grid = torch.stack([from_x * (2 / width), from_y * (2 / height)], dim=-1)
        return F.grid_sample(images, grid, align_corners=False)

    def _transforms(self, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Where each output pixel comes from: (n, 2, 2) matrices and (n, 2) shifts in pixels.

        The limits hold for this map, from output to input; each is symmetric (to first order, for the
        scale), so the map from input to output is as random.
        """
        rotation, scale, shear_x, shear_y, shift_x, shift_y = (2 * uniforms - 1).unbind(1)
        angle = rotation * math.radians(self.degrees)
        cos, sin = angle.cos(), angle.sin()
        shear_x, shear_y = shear_x * self.shear, shear_y * self.shear
        rotated = [cos - sin * shear_y, cos * shear_x - sin, sin + cos * shear_y, sin * shear_x + cos]
        matrix = torch.stack(rotated, dim=1).view(-1, 2, 2) / (1 + scale * self.scale).view(-1, 1, 1)
        return matrix, torch.stack([shift_x, shift_y], dim=1) * self.shift
