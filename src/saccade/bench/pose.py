"""Codecs of key points next to a plain loop over persons and joints: decoding, targets and warps.

The loop computes the same definition joint by joint in NumPy, with OpenCV for blurs and warps where it is installed, as
the authors' code does. Both sides take turns in one process, on one thread each.
"""

from __future__ import annotations

import importlib
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from saccade.tasks.pose import Codec, codec, list_codecs
from saccade.tasks.pose.blurring import blur_matrix
from saccade.tasks.pose.codecs import UNIT

if TYPE_CHECKING:
    from rich.table import Table

Array = NDArray[Any]
BATCH, JOINTS, SIZE, IMAGE = 64, 17, (192, 256), (640, 480)
TARGETS = {"decode": 20, "targets": 10, "warp": 1}
"""Ratios that we aim at."""
_WARM_UP = 2


def opencv() -> ModuleType | None:
    """Return OpenCV if it is installed, set to one thread."""
    try:
        found = importlib.import_module("cv2")
    except ImportError:
        return None
    found.setNumThreads(1)
    return found


class Loop:
    """A codec's definition, person by person and joint by joint, in NumPy.

    Args:
        one: The codec.
        cv2: OpenCV for blurs and warps; None: blurs are two products with small matrices, and there is no warp.
    """

    def __init__(self, one: Codec, cv2: ModuleType | None) -> None:
        self.codec, self.cv2 = one, cv2

    # Decoding

    def decode(self, maps: Array, center: Array, scale: Array) -> Array:
        """Return the points (N, K, 2) in pixels of the image."""
        locate = getattr(self, f"_{self.codec.name}_points")
        points = locate(maps)
        for person in range(len(maps)):
            matrix = self._back(center[person], scale[person])
            for joint in range(points.shape[1]):
                x, y = points[person, joint]
                points[person, joint] = matrix @ np.array([x, y, 1.0])
        return points

    def _back(self, center: Array, scale: Array) -> Array:
        (width, height), (across, down) = self.codec.map_size, UNIT * scale
        if self.codec.name == "biased":
            zooms, middle = (across / width, across / width), (width / 2, height / 2)
        elif self.codec.name == "dark":
            zooms, middle = ((across - 1) / (width - 1),) * 2, ((width - 1) / 2, (height - 1) / 2)
        else:
            zooms, middle = (across / (width - 1), down / (height - 1)), ((width - 1) / 2, (height - 1) / 2)
        x, y = (at - zoom * half for at, zoom, half in zip(center, zooms, middle, strict=True))
        return np.array([[zooms[0], 0, x], [0, zooms[1], y]])

    def _peaks(self, maps: Array) -> tuple[Array, Array]:
        flat = maps.reshape(*maps.shape[:2], -1)
        index, scores = flat.argmax(-1), flat.max(-1)
        width = maps.shape[-1]
        points = np.stack([index % width, index // width], axis=-1).astype(np.float64)
        return points * (scores > 0)[..., None], scores

    def _biased_points(self, maps: Array) -> Array:
        height, width = maps.shape[2:]
        points, scores = self._peaks(maps)
        for person in range(len(maps)):
            for joint in range(maps.shape[1]):
                heat = maps[person, joint]
                x, y = int(points[person, joint, 0]), int(points[person, joint, 1])
                if scores[person, joint] > 0 and 1 < x < width - 1 and 1 < y < height - 1:
                    slope = np.array([heat[y, x + 1] - heat[y, x - 1], heat[y + 1, x] - heat[y - 1, x]])
                    points[person, joint] += 0.25 * np.sign(slope)
        return points

    def _dark_points(self, maps: Array) -> Array:
        height, width = maps.shape[2:]
        points, scores = self._peaks(maps)
        for person in range(len(maps)):
            for joint in range(maps.shape[1]):
                heat = maps[person, joint]
                soft = self._blurred(heat, self.codec.blur, "zero")  # type: ignore[attr-defined]
                soft = soft * (heat.max() / soft.max())
                f = np.log(np.maximum(soft, 1e-10))
                x, y = int(points[person, joint, 0]), int(points[person, joint, 1])
                if scores[person, joint] > 0 and 1 < x < width - 2 and 1 < y < height - 2:
                    slope = np.array([f[y, x + 1] - f[y, x - 1], f[y + 1, x] - f[y - 1, x]]) / 2
                    xx = (f[y, x + 2] - 2 * f[y, x] + f[y, x - 2]) / 4
                    yy = (f[y + 2, x] - 2 * f[y, x] + f[y - 2, x]) / 4
                    xy = (f[y + 1, x + 1] - f[y - 1, x + 1] - f[y + 1, x - 1] + f[y - 1, x - 1]) / 4
                    points[person, joint] += _newton(slope, xx, xy, yy)
        return points

    def _udp_points(self, maps: Array) -> Array:
        points, scores = self._peaks(maps)
        for person in range(len(maps)):
            for joint in range(maps.shape[1]):
                heat = maps[person, joint]
                soft = self._blurred(heat, self.codec.blur, "reflect")  # type: ignore[attr-defined]
                low, high = soft.min(), soft.max()
                if scores[person, joint] <= 0 or high <= low:
                    continue
                soft = (soft - low) / (high - low) * heat.max()
                f = np.pad(np.log(np.clip(soft, 0.001, 50)), 1, mode="edge")
                x, y = int(points[person, joint, 0]) + 1, int(points[person, joint, 1]) + 1
                slope = np.array([f[y, x + 1] - f[y, x - 1], f[y + 1, x] - f[y - 1, x]]) / 2
                twice = 2 * f[y, x]
                xx, yy = f[y, x + 1] - twice + f[y, x - 1], f[y + 1, x] - twice + f[y - 1, x]
                ends = f[y + 1, x + 1] + f[y - 1, x - 1] + twice
                xy = (ends - f[y, x + 1] - f[y + 1, x] - f[y, x - 1] - f[y - 1, x]) / 2
                points[person, joint] += _newton(slope, xx, xy, yy)
        return points

    def _udp_offset_points(self, maps: Array) -> Array:
        one: Any = self.codec
        points = np.zeros((len(maps), maps.shape[1] // 3, 2))
        for person in range(len(maps)):
            for joint in range(points.shape[1]):
                disc, across, down = maps[person, 3 * joint : 3 * joint + 3]
                disc = self._blurred(disc, one.blur, "reflect")
                across, down = (self._blurred(offset, one.offset_blur, "reflect") for offset in (across, down))
                y, x = divmod(int(disc.argmax()), maps.shape[-1])
                if disc[y, x] > 0:
                    points[person, joint] = x + one.radius * across[y, x], y + one.radius * down[y, x]
        return points

    def _blurred(self, heat: Array, kernel: int, border: str) -> Array:
        if self.cv2 is None:
            rows, columns = (blur_matrix(kernel, side, border).numpy().astype(heat.dtype) for side in heat.shape)
            return rows @ heat @ columns.T
        if border == "reflect":
            return np.asarray(self.cv2.GaussianBlur(heat, (kernel, kernel), 0))
        half = (kernel - 1) // 2
        padded = np.pad(heat, half)
        return np.asarray(self.cv2.GaussianBlur(padded, (kernel, kernel), 0))[half:-half, half:-half]

    # Targets

    def targets(self, points: Array, visible: Array) -> Array:
        """Return the target maps (N, C, H, W) of points in pixels of the map."""
        draw = getattr(self, f"_{self.codec.name}_target")
        (width, height), per_joint = self.codec.map_size, self.codec.maps_per_joint
        found = []
        for person in range(len(points)):
            maps = np.zeros((points.shape[1] * per_joint, height, width), dtype=np.float32)
            for joint in range(points.shape[1]):
                if visible[person, joint] > 0.5:
                    draw(maps[joint * per_joint : (joint + 1) * per_joint], *points[person, joint])
            found.append(maps)
        return np.stack(found)

    def _biased_target(self, maps: Array, x: float, y: float) -> None:
        self._square(maps[0], int(x + 0.5), int(y + 0.5), int(x + 0.5), int(y + 0.5))

    def _udp_target(self, maps: Array, x: float, y: float) -> None:
        self._square(maps[0], x, y, int(x + 0.5), int(y + 0.5))

    def _square(self, heat: Array, x: float, y: float, column: int, row: int) -> None:
        (height, width), reach = heat.shape, int(3 * self.codec.sigma)
        left, right = max(0, column - reach), min(width, column + reach + 1)
        top, bottom = max(0, row - reach), min(height, row + reach + 1)
        if left < right and top < bottom:
            columns, rows = np.arange(left, right), np.arange(top, bottom)[:, None]
            distance = (columns - x) ** 2 + (rows - y) ** 2
            heat[top:bottom, left:right] = np.exp(-distance / (2 * self.codec.sigma**2))

    def _dark_target(self, maps: Array, x: float, y: float) -> None:
        columns, rows = np.arange(maps.shape[2]), np.arange(maps.shape[1])[:, None]
        maps[0] = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * self.codec.sigma**2))

    def _udp_offset_target(self, maps: Array, x: float, y: float) -> None:
        columns, rows = np.arange(maps.shape[2]), np.arange(maps.shape[1])[:, None]
        radius = self.codec.radius  # type: ignore[attr-defined]
        across, down = (x - columns) / radius, (y - rows) / radius
        disc = across**2 + down**2 <= 1
        maps[0], maps[1], maps[2] = disc, disc * across, disc * down

    # Warps

    def warp(self, image: Array, matrices: Array) -> Array:
        """Return the inputs (N, H, W, C) that matrices cut out of an image (H, W, C), by OpenCV."""
        assert self.cv2 is not None
        linear = self.cv2.INTER_LINEAR
        return np.stack([self.cv2.warpAffine(image, one, self.codec.input_size, flags=linear) for one in matrices])


def _newton(slope: Array, xx: float, xy: float, yy: float) -> Array:
    if xx * yy == xy * xy:
        return np.zeros(2)
    return -np.linalg.inv(np.array([[xx, xy], [xy, yy]])) @ slope
