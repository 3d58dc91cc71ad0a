"""Codecs of key points next to a plain loop over persons and joints: decoding, targets and warps.

The loop computes the same definition in NumPy and is cut as the authors' code is: the peaks of all maps come from one
argmax and one maximum of the batch, and what follows is done joint by joint (a quarter of a pixel; or blur, stretch,
logarithm and Newton step; then the product with the matrix of the person). Blurs and warps are OpenCV's where it is
installed. Both sides take turns in one process, and the fastest round of each counts. How long it takes to read all
maps once is measured too, as no decoder can be faster.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from saccade.bench.measure import stamp
from saccade.bench.results import SCHEMA, described_machine
from saccade.comparison.costs import now
from saccade.tasks.pose import Codec, codec, list_codecs
from saccade.tasks.pose.blurring import blur_matrix
from saccade.tasks.pose.codecs import UNIT

if TYPE_CHECKING:
    from rich.table import Table

Array = NDArray[Any]
BATCH, JOINTS, SIZE, IMAGE = 64, 17, (192, 256), (640, 480)
TARGETS = {"decode": 20, "targets": 10, "warp": 1}
"""Ratios that we aim at."""


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
        points = self.locate(maps)
        for person in range(len(maps)):
            matrix = self._back(center[person], scale[person])
            for joint in range(points.shape[1]):
                x, y = points[person, joint]
                points[person, joint] = matrix @ np.array([x, y, 1.0])
        return points

    def locate(self, maps: Array) -> Array:
        """Return the points (N, K, 2) in pixels of the map."""
        found: Array = getattr(self, f"_{self.codec.name}_points")(maps)
        return found

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
            return np.asarray(rows @ heat @ columns.T)
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


def cases(
    one: Codec, loop: Loop, device: torch.device
) -> dict[str, tuple[Callable[[], Any], Callable[[], Any] | None]]:
    """Return what is measured of a codec: ours, and the loop; None where the loop needs OpenCV and there is none."""
    made = torch.Generator().manual_seed(0)
    points = 8 + torch.rand(BATCH, JOINTS, 2, dtype=torch.float64, generator=made) * (torch.tensor(SIZE) - 17)
    points, visible = one.to_map(points), torch.ones(BATCH, JOINTS)
    region = one.regions(torch.tensor([[100.0, 50.0, 180.0, 300.0]]) + 60 * torch.rand(BATCH, 4, generator=made))
    maps, _ = one.draw(points, visible)
    maps = maps + 0.05 * torch.rand(maps.shape, generator=made)
    image = torch.randint(0, 256, (3, *reversed(IMAGE)), dtype=torch.uint8, generator=made)
    matrices = one.matrix(*region, 60 * torch.rand(BATCH, generator=made) - 30)

    ours = [tensor.to(device) for tensor in (maps, *region, points, visible, image, matrices)]
    theirs = [
        tensor.numpy() for tensor in (maps, *region, points, visible, image.permute(1, 2, 0).contiguous(), matrices)
    ]
    found: dict[str, tuple[Callable[[], Any], Callable[[], Any] | None]] = {
        "decode": (lambda: one.decode(*ours[:3]), lambda: loop.decode(*theirs[:3])),
        "targets": (lambda: one.draw(*ours[3:5]), lambda: loop.targets(*theirs[3:5])),
        "warp": (lambda: one.warp(*ours[5:]), None if loop.cv2 is None else lambda: loop.warp(*theirs[5:])),
    }
    return found


def measure(
    device: torch.device, rounds: int, on_progress: Callable[[int, int, str], None] = lambda done, total, what: None
) -> dict[str, Any]:
    """Measure all codecs, and return what ``--json`` prints.

    Times are the fastest of the rounds in milliseconds: of the processor on one thread, of the clock otherwise.

    Args:
        device: Device of our side; the loop runs on the CPU.
        rounds: Number of measured rounds of both sides, after one to warm up.
        on_progress: Function of what is done, of how much, and what is measured.
    """
    cv2, names = opencv(), list_codecs()
    own_time = device.type == "cpu" and torch.get_num_threads() == 1
    clock: Callable[[], float] = time.thread_time if own_time else lambda: now(device)
    rows = []
    maps = np.ones((BATCH, JOINTS, SIZE[1] // 4, SIZE[0] // 4), dtype=np.float32)
    reading = min(_timed(clock, maps.max) for _ in range(rounds + 1))
    for done, name in enumerate(names):
        one = codec(name, SIZE)
        for what, (ours, loop) in cases(one, Loop(one, cv2), device).items():
            on_progress(done, len(names), f"{name}, {what}")
            times: dict[str, list[float]] = {"saccade": [], "loop": []}
            for _ in range(rounds + 1):
                for side, call in (("saccade", ours), ("loop", loop)):
                    if call is not None:
                        times[side].append(_timed(clock, call))
            fast, slow = (min(found[1:]) if found else None for found in times.values())
            ratio = None if fast is None or slow is None else slow / fast
            rows.append({"codec": name, "what": what, "saccade_ms": fast, "loop_ms": slow, "ratio": ratio})
    machine = described_machine(device) | {"rounds": rounds, "time": "processor" if own_time else "clock"}
    return {
        "schema": SCHEMA,
        "machine": machine | {"measured": stamp()},
        "opencv": None if cv2 is None else cv2.__version__,
        "shape": {"persons": BATCH, "joints": JOINTS, "input": list(SIZE), "image": list(IMAGE)},
        "aims": dict(TARGETS),
        "reading_ms": reading,
        "rows": rows,
    }


def _timed(clock: Callable[[], float], call: Callable[[], Any]) -> float:
    started = clock()
    call()
    return 1000 * (clock() - started)


def table(found: Mapping[str, Any]) -> Table:
    """Return the table for the terminal."""
    from rich.table import Table

    machine, shape = found["machine"], found["shape"]
    about = f"{machine['device']}, {machine['threads']} threads, torch {machine['torch']}"
    with_opencv = found["opencv"] is not None
    caption = (
        f"{shape['persons']} persons of {shape['joints']} joints, input {shape['input'][0]} x {shape['input'][1]}; the "
        f"loop takes persons and joints one by one, {'with OpenCV ' + found['opencv'] if with_opencv else 'in NumPy'}. "
        f"Fastest of {machine['rounds']} rounds, {machine['time']} time. Reading all maps once takes "
        f"{found['reading_ms']:.2f} ms on the CPU."
    )
    if not with_opencv:
        caption += " The loop's warp is not measured: OpenCV (pip install opencv-python-headless) is missing."
    drawn = Table(title=about, caption=caption)
    for heading in ("codec", "part", "saccade ms", "loop ms", "times as fast", "aim"):
        drawn.add_column(heading, justify="left" if heading in ("codec", "part") else "right")
    for row in found["rows"]:
        numbers = (row["saccade_ms"], row["loop_ms"], row["ratio"])
        cells = [
            "-" if number is None else format(number, shown)
            for number, shown in zip(numbers, (".2f", ".2f", ".1f"), strict=True)
        ]
        drawn.add_row(row["codec"], row["what"], *cells, str(found["aims"][row["what"]]))
    return drawn
