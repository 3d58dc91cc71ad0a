"""Boxes of a detector: COCO's results, a list of image, category, box and score."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from saccade.data.layouts import listed
from saccade.errors import InputError
from saccade.tasks.pose.marked import LEAST_SIDE, Marks, inside, key_of, number

Scored = tuple[tuple[float, float, float, float], float]
_SHOWN = 3


def read_boxes(path: Path, marks: Marks, category: str, folder: Path) -> dict[Path, list[Scored]]:
    """Return the boxes of each image with their scores.

    Args:
        path: A JSON file of results, or annotations with boxes, whose score is then 1.
        marks: Images with their numbers in the annotations, and sizes.
        category: Name of the objects, in messages.
        folder: Folder of the images, in messages.

    Raises:
        InputError: It cannot be read, a row is damaged, or it is for other images.
    """
    by_key: dict[str, Path] = {}
    for image, given in marks.numbers.items():
        by_key[str(key_of(given))] = image
    for image in marks.numbers:
        by_key.setdefault(image.name, image)
        by_key.setdefault(image.stem, image)
    found: dict[Path, list[Scored]] = {}
    unknown, flat = [], 0
    rows = box_rows(path)
    kinds = {kind for kind, *_ in rows}
    ours = kinds & marks.category_ids if marks.category_ids else kinds
    if not ours or (len(ours) > 1 and not marks.category_ids):
        raise InputError(
            f"--boxes {path}: boxes of the categories {listed(sorted(map(str, kinds)))}; {category!r} has the id "
            f"{listed(sorted(map(str, marks.category_ids))) or 'of the only one'}",
            "give the boxes of the objects with key points",
        )
    others = sum(kind not in ours for kind, *_ in rows)
    if others:
        marks.remarks.append(f"{others:,} boxes of {path.name} are of other categories")
    for kind, key, box, score in rows:
        if kind not in ours:
            continue
        if key not in by_key:
            unknown.append(key)
        elif min(inside(box, marks.sizes[by_key[key]])) < LEAST_SIDE:
            flat += 1
        else:
            found.setdefault(by_key[key], []).append((box, score))
    if unknown:
        raise InputError(
            f"--boxes {path}: {len(unknown)} of {len(rows)} boxes are of images that {folder} does not have: image_id "
            f"{listed(list(dict.fromkeys(unknown))[:_SHOWN])}",
            "give the results of a detector on these images; image_id is the id of the annotations, or a file name",
        )
    if not found:
        raise InputError(f"--boxes {path}: no box lies in an image", "boxes are left, top, width and height in pixels")
    if flat:
        marks.remarks.append(f"{flat:,} boxes of {path.name} have no area in their image, and are left out")
    return found


def box_rows(path: Path) -> list[tuple[str | None, str, tuple[float, float, float, float], float]]:
    """Return category, image, box and score of each row of a file of results.

    Raises:
        InputError: It cannot be read, or a row is damaged.
    """
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as cause:
        raise InputError(f"--boxes {path}: cannot be read ({cause.strerror or cause})") from cause
    except (ValueError, RecursionError, UnicodeDecodeError) as cause:
        raise InputError(f"--boxes {path}: not valid JSON ({str(cause)[:120]})") from cause
    names: dict[str, str] = {}
    if isinstance(content, dict) and isinstance(content.get("annotations"), list):
        listed_images = content.get("images")
        for row in listed_images if isinstance(listed_images, list) else []:
            if isinstance(row, dict) and isinstance(row.get("file_name"), str):
                names[str(key_of(row.get("id")))] = row["file_name"].replace("\\", "/").rpartition("/")[2]
        content = content["annotations"]
    if not isinstance(content, list) or not content:
        raise InputError(
            f"--boxes {path}: expected a list of image_id, category_id, bbox and score",
            "COCO's results are such a list",
        )
    found = []
    for place, row in enumerate(content):
        where = f"--boxes {path}: row {place}"
        if not isinstance(row, dict):
            raise InputError(f"{where}: expected image_id, bbox and score; received {str(row)[:60]!r}")
        key, box = key_of(row.get("image_id")), row.get("bbox")
        values = [number(value) for value in box] if isinstance(box, list) else []
        sides = [value for value in values if value is not None and math.isfinite(value)]
        score = number(row.get("score", 1.0))
        if key is None or len(values) != 4 or len(sides) != 4 or min(sides[2:]) < 0:
            raise InputError(
                f"{where}: expected an image_id and a bbox of four finite numbers; received {str(row)[:80]}"
            )
        if score is None or not math.isfinite(score):
            raise InputError(f"{where}: expected a finite score; received {row.get('score')!r}")
        kind = key_of(row.get("category_id"))
        found.append((kind, names.get(key, key), (sides[0], sides[1], sides[2], sides[3]), score))
    return found
