"""Drawn stick figures with exact labels, as COCO's JSON of key points: what a user's folder looks like, but small."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image, ImageDraw

NAMES = ("head", "left_hand", "right_hand", "left_foot", "right_foot", "tail_tip")
SKELETON = ((1, 2), (1, 3), (1, 6), (6, 4), (6, 5))
RED, BLUE = (220, 60, 40), (50, 90, 220)


def figure(rng, side):
    """Points (6, 2) of one figure: left is the red side, wherever it looks."""
    height = rng.uniform(0.4, 0.6) * side
    x, y = rng.uniform(0.35, 0.65) * side, rng.uniform(0.15, 0.3) * side
    turned = 1 if rng.random() < 0.5 else -1
    arm, leg = rng.uniform(0.15, 0.25) * side, rng.uniform(0.1, 0.2) * side
    rows = [
        (x, y), (x + turned * arm, y + 0.3 * height), (x - turned * arm, y + 0.3 * height),
        (x + turned * leg, y + height), (x - turned * leg, y + height), (x, y + 0.6 * height),
    ]  # fmt: skip
    return np.array(rows)


def drawn(points, side, rng):
    image = Image.fromarray(rng.integers(80, 120, (side, side, 3), dtype=np.uint8).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for one, other in SKELETON:
        colour = RED if other in (2, 4) else BLUE if other in (3, 5) else (240, 240, 240)
        pen.line([*points[one - 1], *points[other - 1]], fill=colour, width=3)
    x, y = points[0]
    pen.ellipse([x - 4, y - 4, x + 4, y + 4], fill=(240, 200, 40))
    return image


def annotation(points, number, image, **fields):
    low, high = points.min(axis=0) - 3, points.max(axis=0) + 3
    box = [*low.tolist(), *(high - low).tolist()]
    keypoints = np.concatenate([points, np.full((len(points), 1), 2.0)], axis=1).reshape(-1).tolist()
    return {
        "id": number, "image_id": image, "category_id": 1, "keypoints": keypoints, "num_keypoints": len(points),
        "bbox": box, "area": 0.5 * box[2] * box[3], "iscrowd": 0, **fields,
    }  # fmt: skip


def category(names=NAMES, **fields):
    return {
        "id": 1,
        "name": "figure",
        "keypoints": list(names),
        "skeleton": [list(line) for line in SKELETON],
        **fields,
    }


def document(count=4, side=64, seed=0, folder=None, inside="images", first=1):
    """COCO's JSON; with a folder the images are drawn into it."""
    rng, images, annotations = np.random.default_rng(seed), [], []
    for number in range(first, first + count):
        points = figure(rng, side)
        name = f"{inside}/{number:04}.png"
        if folder is not None:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            drawn(points, side, np.random.default_rng((seed, number))).save(folder / name)
        images.append({"id": number, "file_name": name, "width": side, "height": side})
        annotations.append(annotation(points, number, number))
    return {"images": images, "annotations": annotations, "categories": [category(sigmas=[0.06] * 6)]}


def written(folder, content, name="annotations.json"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content))
    return folder


def tree(folder, train=16, val=4, side=64):
    """Both sides, a file for each."""
    for what, count, first in (("train", train, 1), ("val", val, 501)):
        content = document(count, side, seed=len(what), folder=folder, inside=what, first=first)
        written(folder / "annotations", content, f"annotations_{what}.json")
    return folder
