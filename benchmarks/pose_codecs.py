"""Codecs of key points against a plain loop: ``python -m benchmarks.pose_codecs`` prints milliseconds and their ratio.

The loop visits persons and joints one by one, as the authors' code does, and computes the same definition in NumPy; its
blur is two products of matrices per map, the fastest way that NumPy has. Both are timed in turn, in one process and on
one thread, and the median of the ratios counts.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from saccade.tasks.pose import Codec, codec
from saccade.tasks.pose.blurring import blur_matrix

Array = NDArray[Any]
BATCH, JOINTS, SIZE = 64, 17, (192, 256)


def looped_targets(one: Codec, points: Array) -> Array:
    """DARK's and HRNet's targets, map by map."""
    width, height = one.map_size
    maps = np.zeros((*points.shape[:2], height, width), dtype=np.float32)
    for person in range(len(points)):
        for joint in range(points.shape[1]):
            x, y = points[person, joint]
            if one.name == "biased":
                x, y = int(x + 0.5), int(y + 0.5)
            columns, rows = np.arange(width), np.arange(height)[:, None]
            found = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * one.sigma**2))
            if one.name == "biased":
                found = found * ((abs(columns - x) <= 3 * one.sigma) & (abs(rows - y) <= 3 * one.sigma))
            maps[person, joint] = found
    return maps


def looped_points(one: Any, maps: Array) -> Array:
    """The decoders of ``biased`` and ``dark``, map by map, in pixels of the map."""
    width, height = one.map_size
    points = np.zeros((*maps.shape[:2], 2))
    if one.name == "dark":
        rows, columns = (blur_matrix(one.blur, side, "zero").numpy().astype(maps.dtype) for side in (height, width))
    for person in range(len(maps)):
        for joint in range(maps.shape[1]):
            heat = maps[person, joint]
            y, x = divmod(int(heat.argmax()), width)
            if heat[y, x] <= 0:
                continue
            points[person, joint] = x, y
            if one.name == "biased" and 1 < x < width - 1 and 1 < y < height - 1:
                slope = np.array([heat[y, x + 1] - heat[y, x - 1], heat[y + 1, x] - heat[y - 1, x]])
                points[person, joint] += 0.25 * np.sign(slope)
            if one.name == "dark" and 1 < x < width - 2 and 1 < y < height - 2:
                soft = rows @ heat @ columns.T
                f = np.log(np.maximum(soft * (heat[y, x] / soft.max()), 1e-10))
                points[person, joint] += _step(f, x, y)
    return points


def _step(f: Array, x: int, y: int) -> Array:
    gradient = np.array([f[y, x + 1] - f[y, x - 1], f[y + 1, x] - f[y - 1, x]]) / 2
    xx = (f[y, x + 2] - 2 * f[y, x] + f[y, x - 2]) / 4
    yy = (f[y + 2, x] - 2 * f[y, x] + f[y - 2, x]) / 4
    xy = (f[y + 1, x + 1] - f[y - 1, x + 1] - f[y + 1, x - 1] + f[y - 1, x - 1]) / 4
    if xx * yy == xy * xy:
        return np.zeros(2)
    return -np.linalg.inv(np.array([[xx, xy], [xy, yy]])) @ gradient


def milliseconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


def compare(what: str, ours: Callable[[], Any], loop: Callable[[], Any], rounds: int) -> None:
    ours(), loop()
    pairs = [(milliseconds(ours), milliseconds(loop)) for _ in range(rounds)]
    ratio = statistics.median(slow / fast for fast, slow in pairs)
    fast, slow = (statistics.median(times) for times in zip(*pairs, strict=True))
    print(f"{what:<16} {fast:8.2f} ms  loop {slow:8.2f} ms  {ratio:6.1f} times")


def main(rounds: int) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    points = 8 + torch.rand(BATCH, JOINTS, 2, dtype=torch.float64) * (torch.tensor(SIZE) - 17)
    visible = torch.ones(BATCH, JOINTS)
    for name in ("biased", "dark"):
        one = codec(name, SIZE)
        on_map = one.to_map(points)
        maps = one.draw(on_map, visible)[0] + 0.05 * torch.rand(BATCH, JOINTS, 64, 48)
        plain, plain_points = maps.numpy(), on_map.numpy()
        assert np.abs(one.locate(maps)[0].numpy() - looped_points(one, plain)).max() < 1e-3
        assert math.isclose(np.abs(one.draw(on_map, visible)[0].numpy() - looped_targets(one, plain_points)).max(), 0,
                            abs_tol=1e-6)  # fmt: skip
        compare(f"{name} decode", lambda o=one, m=maps: o.locate(m), lambda o=one, p=plain: looped_points(o, p), rounds)
        compare(
            f"{name} targets",
            lambda o=one, m=on_map: o.draw(m, visible),
            lambda o=one, p=plain_points: looped_targets(o, p),
            rounds,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    main(parser.parse_args().rounds)
