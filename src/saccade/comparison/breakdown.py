"""Segmentation scores by size and by thinness of the objects, written beside each run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from saccade.comparison.objects import bucket_counts, bucket_iou, buckets
from saccade.data import Dataset
from saccade.files import write_json


def write_breakdown(predictions: NDArray[Any], data: Dataset, folder: Path) -> None:
    """Write ``breakdown.json``: the IoU of each bucket, and where the buckets' limits lie.

    Class 0 is taken for the background when it is called so (or "photograph", in the demo): its few large regions are
    no objects.
    """
    background = data.classes[0].lower() in ("background", "photograph")
    found = buckets(data.val.targets, background=background)
    content: dict[str, Any] = {"buckets": {}}
    for group, grouping in (("size", found.size), ("thinness", found.thinness)):
        counts = bucket_counts(predictions, data.val.targets, grouping.map, len(data.classes))
        content[group] = bucket_iou(counts, grouping.names)
        content["buckets"][group] = {"names": grouping.names, "limits": grouping.limits}
    write_json(folder / "breakdown.json", content)
