#!/usr/bin/env bash
# datumaro reads the objects of a COCO image last to first, and gives all of them z_order 0: what an export draws on top
# comes out underneath. Valid COCO, one image, two squares that overlap in 4 pixels.
# Seen with datumaro 1.13.12 (Python 3.11): labels in the file: below, above; as read: above, below; class on top: below.
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check datumaro==1.13.12
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import json
from pathlib import Path

import datumaro
import numpy as np
from PIL import Image

root = Path("export")
(root / "annotations").mkdir(parents=True)
(root / "images" / "train").mkdir(parents=True)
Image.new("RGB", (10, 8)).save(root / "images" / "train" / "a.png")
squares = [[1, 1, 5, 1, 5, 5, 1, 5], [3, 3, 7, 3, 7, 7, 3, 7]]
names = ["below", "above"]
(root / "annotations" / "instances_train.json").write_text(json.dumps({
    "images": [{"id": 1, "file_name": "a.png", "width": 10, "height": 8}],
    "categories": [{"id": n, "name": name} for n, name in enumerate(names, 1)],
    "annotations": [
        {"id": n, "image_id": 1, "category_id": n, "iscrowd": 0, "area": 16, "bbox": [*square[:2], 4, 4],
         "segmentation": [square]} for n, square in enumerate(squares, 1)
    ],
}))
data = datumaro.Dataset.import_from(str(root), "coco_instances")
data.transform("polygons_to_masks")
[item] = data
masks = [one for one in item.annotations if one.type == datumaro.AnnotationType.mask]
read = [names[one.label] for one in masks]
drawn = np.full((8, 10), -1)
for one in sorted(masks, key=lambda one: one.z_order):  # sorted keeps the order of equals
    drawn[np.asarray(one.image).astype(bool)] = one.label
print("labels in the file:", ", ".join(names))
print("as read:", ", ".join(read), "with z_order", [one.z_order for one in masks])
print("class on top where they overlap:", names[drawn[4, 4]])
assert (read, names[drawn[4, 4]]) == (["above", "below"], "below"), "the behaviour has changed"
PYTHON
