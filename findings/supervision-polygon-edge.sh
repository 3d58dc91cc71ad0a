#!/usr/bin/env bash
# supervision fills polygons with their right and lower edges: a square of 4 x 4 px becomes 5 x 5, and neighbours that
# share an edge share a column of pixels. pycocotools, whose masks COCO's areas are counted from, gives 16 pixels and no
# overlap. So the same object differs between a polygon and run lengths within one COCO file read by supervision.
# Seen with supervision 0.31.2 and pycocotools 2.0.11 (Python 3.11), with and without OpenCV 5.0.
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check supervision==0.31.2 pycocotools==2.0.11
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import json
from pathlib import Path

import supervision
from PIL import Image
from pycocotools import mask as coco

root = Path("export")
root.mkdir()
Image.new("RGB", (12, 10)).save(root / "a.png")
left, right = [2, 2, 6, 2, 6, 6, 2, 6], [6, 2, 10, 2, 10, 6, 6, 6]
runs = {"size": [10, 12], "counts": [22, 4, 6, 4, 6, 4, 6, 4, 64]}  # the left square again, down its 4 columns
(root / "labels.json").write_text(json.dumps({
    "images": [{"id": 1, "file_name": "a.png", "width": 12, "height": 10}],
    "categories": [{"id": 1, "name": "cat"}],
    "annotations": [
        {"id": n, "image_id": 1, "category_id": 1, "iscrowd": int(isinstance(one, dict)), "area": 16,
         "bbox": [2, 2, 4, 4], "segmentation": one} for n, one in enumerate(([left], [right], runs), 1)
    ],
}))
data = supervision.DetectionDataset.from_coco(str(root), str(root / "labels.json"), force_masks=True)
[(_, _, found)] = list(data)
masks = found.mask.astype(bool)
counts = [int(mask.sum()) for mask in masks]
truth = [int(coco.decode(coco.frPyObjects([one], 10, 12)).sum()) for one in (left, right)]
shared = int((masks[0] & masks[1]).sum())
print(f"supervision: polygons of {counts[0]} and {counts[1]} pixels, {shared} shared; the left one as runs: {counts[2]}")
print(f"pycocotools: polygons of {truth[0]} and {truth[1]} pixels")
assert (counts, shared, truth) == ([25, 25, 16], 5, [16, 16]), "the behaviour has changed"
PYTHON
