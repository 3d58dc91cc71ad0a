"""The demo "chips": the four outer pins of a chip with two rows, named by a dot that may lie far from them.

A chip of 10 to 16 equal pins and two equal ends lies at any angle on a photograph. One dot on its middle line says
which end is the near one. The place of an outer pin is there to see; its name is that of the end, and the dot lies
anywhere from the near end almost to the middle. A network that sees less of the picture than the way from a corner to
the dot has to guess there. Labels are exact, as the pictures are drawn.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from saccade.data import Arrays, OnProgress
from saccade.data.notes import photographs
from saccade.errors import require

SIZE = 64
"""Side of a picture in pixels."""
JOINTS = ("left_near", "left_far", "right_far", "right_near")
"""Outer pins, seen with the near end on top: near is the end that the dot is closer to."""
TURNED = (2, 3, 0, 1)
"""Joint that each one is taken for in a chip turned by 180 degrees."""
SIGMA = 0.05
RECIPE = 1
"""Version of the pictures: raised with every change, so that those of an older saccade are drawn again."""
_COUNTS = {"task": (1500, 400), "start": (1000, 100)}
_FINE = 4  # pixels of the drawing for each pixel of the picture, on either axis
_SKELETON = ((1, 2), (2, 3), (3, 4), (4, 1))

Pixels = NDArray[np.uint8]
Kind = Literal["task", "start"]
_KINDS: tuple[Kind, ...] = ("task", "start")
_DOTS: dict[Kind, tuple[float, float]] = {"task": (0.1, 0.9), "start": (0.1, 0.35)}


@dataclass(frozen=True)
class Chip:
    """A chip in a picture.

    Args:
        points: Tips of the outer pins (4, 2), x and y in pixels, in the order of :data:`JOINTS`.
        pins: Pins in each row.
        dot: Distance of the dot from the near end, as a fraction of half the length: 0 to 1.
    """

    points: NDArray[np.float64]
    pins: int
    dot: float


def draw_chip(photos: Sequence[Pixels], rng: np.random.Generator, kind: Kind = "task") -> tuple[Pixels, Chip]:
    """Draw one picture (64, 64, 3), and return the chip in it.

    Args:
        photos: Photographs to lie on, of at least 64 pixels on both sides.
        rng: Source of all randomness, so that a picture is a function of its seed.
        kind: ``"task"``: the dot lies from near the end almost to the middle; ``"start"``: near the end.
    """
    photo = photos[int(rng.integers(len(photos)))]
    top, left = (int(rng.integers(side - SIZE + 1)) for side in photo.shape[:2])
    ground = photo[top : top + SIZE, left : left + SIZE] * np.float32(rng.uniform(0.6, 1.0))
    if rng.random() < 0.5:
        ground = ground[:, ::-1]

    pins = int(rng.integers(5, 9))
    length, width = rng.uniform(36, 46), rng.uniform(11, 16)
    pin, angle = 3.0, rng.uniform(0, 2 * math.pi)
    center = (SIZE - 1) / 2 + rng.uniform(-4, 4, size=2)
    dot = rng.uniform(*_DOTS[kind])
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])

    def placed(points: Any) -> NDArray[np.float64]:
        """Return pixels of the picture for places across and along the chip, the near end on top."""
        found: NDArray[np.float64] = np.asarray(points, dtype=np.float64) @ turn + center
        return found

    drawing, pil = require("PIL.ImageDraw", extra="train"), require("PIL.Image", extra="train")
    layer = pil.new("RGBA", (SIZE * _FINE, SIZE * _FINE))
    pen = drawing.Draw(layer)

    def polygon(corners: Any, colour: Any) -> None:
        fine = placed(corners) * _FINE + (_FINE - 1) / 2
        pen.polygon([tuple(corner) for corner in fine.tolist()], fill=(*(int(part) for part in colour), 255))

    def box(x0: float, y0: float, x1: float, y1: float) -> list[tuple[float, float]]:
        return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]

    body = rng.uniform(20, 70) + rng.uniform(-12, 12, size=3)
    metal, mark = np.full(3, rng.uniform(170, 230)), np.full(3, rng.uniform(190, 250))
    reach, rows = width / 2 + pin, np.linspace(-length / 2 + 2.5, length / 2 - 2.5, pins)
    for y in rows:
        polygon(box(-reach, y - 1, reach, y + 1), metal)
    polygon(box(-width / 2, -length / 2, width / 2, length / 2), body.clip(0, 255))
    round_ = np.linspace(0, 2 * math.pi, 24, endpoint=False)
    spot = np.stack([np.cos(round_), np.sin(round_)], axis=1) * rng.uniform(1.7, 2.3)
    polygon(spot + np.array([0.0, -length / 2 * (1 - dot)]), mark)

    fine = np.asarray(layer, dtype=np.float32).reshape(SIZE, _FINE, SIZE, _FINE, 4)
    opacity = fine[..., 3:].mean(axis=(1, 3)) / 255
    colour = (fine[..., :3] * (fine[..., 3:] / 255)).mean(axis=(1, 3))
    image = np.rint(colour + ground * (1 - opacity)).clip(0, 255).astype(np.uint8)
    near, far = rows[0], rows[-1]
    return image, Chip(placed([(-reach, near), (-reach, far), (reach, far), (reach, near)]), pins, float(dot))


def load_chips(
    cache: Path,
    *,
    kind: Kind = "task",
    seed: int = 0,
    train: int | None = None,
    held_out: int | None = None,
    on_progress: OnProgress | None = None,
) -> Arrays:
    """Load the pictures, drawn once and kept in `cache`, cut out around each chip as any data of key points is.

    Args:
        cache: Folder for the pictures and the arrays.
        kind: ``"task"``, or ``"start"``, chips with the dot near the end, on which the demo's shared network learns.
        seed: Another number draws other chips.
        train: Number of training pictures; None means 1,500, and 1,000 for the start.
        held_out: Number of validation pictures; None means 400, and 100 for the start.
        on_progress: Called with (done, total, what).
    """
    from saccade.data.reading import Reading
    from saccade.tasks.pose.task import Pose

    counts = [
        default if given is None else given for given, default in zip((train, held_out), _COUNTS[kind], strict=True)
    ]
    name = f"chips-v{RECIPE}-{kind}-seed{seed}-{counts[0]}-{counts[1]}"
    folder = Path(cache) / name
    if not folder.is_dir():
        drawing = folder.with_name(f"{name}.new")
        shutil.rmtree(drawing, ignore_errors=True)
        write_chips(drawing, train=counts[0], held_out=counts[1], seed=seed, kind=kind, on_progress=on_progress)
        drawing.replace(folder)
    reading = Reading(codec="dark")  # the most exact on maps this small
    found = Pose.load_arrays(folder, Path(cache), size=SIZE, reading=reading, on_progress=on_progress)
    where = "the mark near an end" if kind == "start" else "the mark anywhere"
    return replace(
        found,
        name="chips" if kind == "task" else "chips-start",
        note=f"the demo 'chips', {where}: {counts[0]} training and {counts[1]} validation pictures, 4 joints",
        facts={**found.facts, "turned": list(TURNED), "sigma": 2.0},
        identity=None,
        split=(),
        stated=None,
        values=(),
    )


def chips(
    photos: Sequence[Pixels], seed: tuple[int, ...], count: int, kind: Kind = "task"
) -> Iterator[tuple[Pixels, Chip]]:
    """Draw pictures, each of which depends on the seed and its number alone."""
    for index in range(count):
        yield draw_chip(photos, np.random.default_rng((*seed, _KINDS.index(kind), index)), kind)


def write_chips(
    folder: Path,
    *,
    train: int,
    held_out: int,
    seed: int = 0,
    kind: Kind = "task",
    on_progress: OnProgress | None = None,
) -> Path:
    """Write ``train/`` and ``val/`` (PNG), with ``annotations_train.json`` and ``annotations_val.json`` of COCO's form.

    No part of a photograph is on both sides.

    Args:
        folder: Folder to write into.
        train: Number of training pictures.
        held_out: Number of validation pictures.
        seed: Another number draws other chips.
        kind: Where the dots lie, see :func:`draw_chip`.
        on_progress: Called with (done, total, what).
    """
    pil = require("PIL.Image", extra="train")
    done, total = 0, train + held_out
    for number, (side, count, photos) in enumerate(
        zip(("train", "val"), (train, held_out), photographs(), strict=True)
    ):
        (folder / side).mkdir(parents=True)
        images, annotations = [], []
        for index, (pixels, chip) in enumerate(chips(photos, (seed, number), count, kind), 1):
            name = f"{side}/{index:05}.png"
            pil.fromarray(pixels).save(folder / name)
            images.append({"id": index, "file_name": name, "width": SIZE, "height": SIZE})
            annotations.append(_annotation(chip, index))
            done += 1
            if on_progress is not None:
                on_progress(done, total, "drawing chips")
        category = {
            "id": 1,
            "name": "chip",
            "keypoints": list(JOINTS),
            "skeleton": [list(line) for line in _SKELETON],
            "sigmas": [SIGMA] * len(JOINTS),
        }
        content = {"images": images, "annotations": annotations, "categories": [category]}
        (folder / f"annotations_{side}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def _annotation(chip: Chip, index: int) -> dict[str, Any]:
    """Return COCO's entry of a chip: its box holds the pins, its area is that of the chip itself."""
    low, high = (chip.points.min(axis=0) - 2).clip(0), (chip.points.max(axis=0) + 2).clip(max=SIZE - 1)
    across, along = (float(np.linalg.norm(chip.points[one] - chip.points[0])) for one in (3, 1))
    points = [round(float(value), 3) for x, y in chip.points for value in (x, y, 2)]
    return {
        "id": index,
        "image_id": index,
        "category_id": 1,
        "keypoints": points,
        "num_keypoints": len(JOINTS),
        "bbox": [round(float(value), 3) for value in (*low, *(high - low))],
        "area": round(across * along, 3),
        "iscrowd": 0,
        "dot": round(chip.dot, 4),
    }
