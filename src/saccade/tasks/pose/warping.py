"""Affine maps between image, network input and heat map, and images warped by them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from saccade.errors import InputError
from saccade.tasks.pose.resampling import in_range, resample


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

    Whole numbers are rounded, and stay in the range of their type. On the CPU, images of up to three channels of uint8
    are resampled in whole numbers, at places and with weights in steps of 1/256. This is at most 2.5 grey levels away.

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
    back = inverse(matrix.double())
    if images.device.type != "cpu":
        return _as(_sampled(_real(images), *_lines(back, size, images.shape[2:])), images.dtype)
    result = torch.empty(len(images), images.shape[1], *reversed(size), dtype=images.dtype)
    parts = _needed(back, size, images.shape[2:])
    if images.dtype == torch.uint8 and 1 <= images.shape[1] <= 3 and in_range(back, size):
        resample(images, back, parts, result)
        return result
    sides = parts[:, 2:] - parts[:, :2]
    moved = torch.cat([back[..., :2], back[..., 2:] - parts[:, [1, 0], None]], dim=-1)
    across, down = _lines(moved, size, sides)
    for one, (top, left, bottom, right) in enumerate(parts.tolist()):
        part = _real(images[one : one + 1, :, top:bottom, left:right])
        result[one] = _as(_sampled(part, across[one : one + 1], down[one : one + 1])[0], images.dtype)
    return result


def _needed(back: Tensor, size: tuple[int, int], shape: Sequence[int]) -> Tensor:
    """Return the part of each image that its result depends on: top, left, bottom and right (N, 4), never empty."""
    width, height = size
    outer = torch.tensor([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]], dtype=torch.float64)
    corners = transformed(back, outer).flip(-1).nan_to_num()
    limits = torch.tensor(shape, dtype=torch.float64)
    first = torch.minimum(corners.amin(-2).floor().clamp(min=0), limits - 1)
    last = torch.minimum(torch.maximum(corners.amax(-2).floor() + 2, first + 1), limits)
    return torch.cat([first, last], dim=-1).long()


def _lines(back: Tensor, size: tuple[int, int], shape: Sequence[int] | Tensor) -> tuple[Tensor, Tensor]:
    """Return what a column (N, 1, width) and a row (N, height, 1) add to the places in the source, as x + iy.

    Places are in grid_sample's range, in which a side is 2 long.
    """
    width, height = size
    sides = torch.as_tensor(shape, dtype=torch.float64, device=back.device).flip(-1)
    back = torch.cat([back[..., :2], back[..., 2:] + 0.5], dim=-1) * (2 / sides)[..., None]
    x, y, rest = torch.complex(back[..., 0, :], back[..., 1, :])[..., None].unbind(-2)
    along = torch.arange(width, dtype=torch.float64, device=back.device)
    upright = torch.arange(height, dtype=torch.float64, device=back.device)
    return (x * along)[:, None], (y * upright + (rest - (1 + 1j)))[..., None]


def _sampled(values: Tensor, across: Tensor, down: Tensor) -> Tensor:
    # Torch adds a row and a column of complex numbers several times as fast as pairs of numbers.
    kind = torch.complex128 if values.dtype == torch.float64 else torch.complex64
    grid = torch.view_as_real(across.to(kind) + down.to(kind))
    return F.grid_sample(values, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _real(images: Tensor) -> Tensor:
    return images if images.dtype in (torch.float32, torch.float64) else images.float()


def _as(found: Tensor, kind: torch.dtype) -> Tensor:
    """Return real numbers as another type, whole numbers rounded."""
    if kind.is_floating_point:
        return found.to(kind)
    if kind == torch.bool:
        return found >= 0.5
    limits = torch.iinfo(kind)
    return found.double().round_().clamp_(limits.min, limits.max).to(kind)
