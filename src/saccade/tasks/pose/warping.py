"""Affine maps between image, network input and heat map, and images warped by them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from saccade.errors import InputError


def transformed(matrix: Tensor, points: Tensor) -> Tensor:
    """Return points (..., P, 2) moved by matrices (..., 2, 3), in float64."""
    matrix = matrix.double()
    return points.double() @ matrix[..., :2].mT + matrix[..., None, :, 2]


def inverse(matrix: Tensor) -> Tensor:
    """Return the matrices (..., 2, 3) of the opposite maps."""
    (a, b), (c, d) = (row.unbind(-1) for row in matrix[..., :2].unbind(-2))
    linear = torch.stack([torch.stack([d, -b], dim=-1), torch.stack([-c, a], dim=-1)], dim=-2)
    linear = linear / (a * d - b * c)[..., None, None]
    return torch.cat([linear, -linear @ matrix[..., 2:]], dim=-1)


def about(linear: Tensor, center: Tensor, goal: Tensor) -> Tensor:
    """Return the matrices (..., 2, 3) with a linear part (..., 2, 2) that move `center` (..., 2) to `goal`."""
    shift = goal - (linear @ center[..., None])[..., 0]
    return torch.cat([linear, shift[..., None]], dim=-1)


def warp(images: Tensor, matrix: Tensor, size: tuple[int, int]) -> Tensor:
    """Return images resampled bilinearly by affine maps, black outside.

    Whole numbers are rounded, and stay in the range of their type.

    Args:
        images: One image (C, H, W), or a batch (N, C, H, W), of any type.
        matrix: (N, 2, 3) from pixels of the image to pixels of the result; one image is warped N times.
        size: Width and height of the result.

    Shape: (N, C, height, width).

    Raises:
        InputError: Shapes do not fit.
    """
    if images.dim() == 3:
        images = images.expand(len(matrix), *images.shape)
    if images.dim() != 4 or matrix.shape != (len(images), 2, 3):
        raise InputError(
            "warp: expected an image (C, H, W) or a batch (N, C, H, W) and matrices (N, 2, 3); received shapes "
            f"{tuple(images.shape)} and {tuple(matrix.shape)}"
        )
    (width, height), (rows, columns) = size, images.shape[2:]
    kind = images.dtype
    values = images if kind in (torch.float32, torch.float64) else images.float()
    back = inverse(matrix.double())
    # Pixel centres (x, y) of the result, to source pixels, to grid_sample's range in which a side is 2 long.
    scale = torch.tensor([2 / columns, 2 / rows], dtype=torch.float64, device=matrix.device)
    back = torch.cat([back[..., :2], back[..., 2:] + 0.5], dim=-1) * scale[:, None]
    back[..., 2] -= 1
    x = torch.arange(width, dtype=torch.float64, device=matrix.device)
    y = torch.arange(height, dtype=torch.float64, device=matrix.device)
    grid = (
        x[None, None, :, None] * back[:, None, None, :, 0]
        + y[None, :, None, None] * back[:, None, None, :, 1]
        + back[:, None, None, :, 2]
    )
    found = F.grid_sample(values, grid.to(values), mode="bilinear", padding_mode="zeros", align_corners=False)
    if kind.is_floating_point:
        return found.to(kind)
    limits = torch.iinfo(kind)
    return found.round_().clamp_(limits.min, limits.max).to(kind)
