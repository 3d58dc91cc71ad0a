"""Segmentation scores by size and by thinness of the objects, written beside each run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.data import Dataset
from saccade.files import write_json
from saccade.tasks.segmentation.objects import has_background, iou_by_object, match_objects


def write_breakdown(predictions: NDArray[Any], data: Dataset, folder: Path) -> None:
    """Write ``breakdown.json``: the IoU of each bucket, and where the buckets' limits lie."""
    one_by_one = [
        match_objects(given[None], np.asarray(mask)[None], len(data.classes))
        for given, mask in zip(predictions, data.val.targets, strict=True)
    ]
    rows, false = zip(*one_by_one, strict=True)
    found = iou_by_object(np.concatenate(rows), np.sum(false, axis=0), background=has_background(data.classes))
    content: dict[str, Any] = {"buckets": {}}
    for group, by in zip(("size", "thinness"), found, strict=True):
        content[group] = by.iou
        content["buckets"][group] = {"names": tuple(by.iou), "limits": by.limits}
    write_json(folder / "breakdown.json", content)
