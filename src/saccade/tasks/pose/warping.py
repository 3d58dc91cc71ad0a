"""Affine maps between image, network input and heat map, and images warped by them."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import lru_cache
from types import ModuleType

import torch
from torch import Tensor
from torch.nn import functional as F

from saccade.errors import InputError
from saccade.tasks.pose.resampling import in_range, resample
from saccade.tasks.pose.sharing import shared

_LONGEST = 32766  # side of an image that OpenCV takes


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
    are resampled by OpenCV where version 5 of it is installed, and lie in memory channels last then; otherwise in whole
    numbers, at places and with weights in steps of 1/256, which is at most 2.5 grey levels away.

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
    in_bytes = images.dtype == torch.uint8 and 1 <= images.shape[1] <= 3 and in_range(back, size)
    cv2 = opencv() if in_bytes and max(*images.shape[2:], *size) <= _LONGEST and images.numel() else None
    if cv2 is not None:
        return _by_opencv(cv2, images, back, size)
    result = torch.empty(len(images), images.shape[1], *reversed(size), dtype=images.dtype)
    parts = _needed(back, size, images.shape[2:])
    if in_bytes:
        resample(images, back, parts, result)
        return result
    sides = parts[:, 2:] - parts[:, :2]
    moved = torch.cat([back[..., :2], back[..., 2:] - parts[:, [1, 0], None]], dim=-1)
    across, down = _lines(moved, size, sides)
    for one, (top, left, bottom, right) in enumerate(parts.tolist()):
        part = _real(images[one : one + 1, :, top:bottom, left:right])
        result[one] = _as(_sampled(part, across[one : one + 1], down[one : one + 1])[0], images.dtype)
    return result


@lru_cache(maxsize=1)
def opencv() -> ModuleType | None:
    """Return OpenCV if a version is installed whose bilinear warps are exact; those before 5 round places to 1/32."""
    try:
        found = importlib.import_module("cv2")
    except (ImportError, RuntimeError):  # as for NumPy of another generation, or system libraries that are missing
        return None
    return found if int(found.__version__.split(".")[0]) >= 5 else None


def _by_opencv(cv2: ModuleType, images: Tensor, back: Tensor, size: tuple[int, int]) -> Tensor:
    # Not one thread is asked of OpenCV: in a process that was forked from one with its threads it would wait for ever.
    result = torch.empty(len(images), size[1], size[0], images.shape[1], dtype=images.dtype)
    sources, matrices, made = images.numpy(), back.numpy(), result.numpy()
    one = cv2.merge(list(sources[0])) if images.stride(0) == 0 else None
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP

    def fill(part: slice) -> None:
        for source, matrix, crop in zip(sources[part], matrices[part], made[part], strict=True):
            cv2.warpAffine(cv2.merge(list(source)) if one is None else one, matrix, size, dst=crop, flags=flags)

    shared(fill, len(images), result.numel())
    return result.permute(0, 3, 1, 2)


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
