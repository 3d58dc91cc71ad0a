"""Measure which published libraries read which exports rightly: ``python -m benchmarks.import_readers LIBRARY``.

LIBRARY is ``datumaro`` or ``supervision``, which stands in an environment of its own; images of
:mod:`tests.data.exports` are compared pixel by pixel. Neither is one of saccade's dependencies: of the 15 exports,
datumaro 1.13.12 reads 1 rightly (4 more but for the order of overlapping objects, see ``findings/``) and supervision
0.31.2 reads 2 (7 more but for the edges of polygons). Both leave out shapes that they do not know without a number.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tests.data import exports

Found = Iterator[tuple[str, np.ndarray]]

NAMED = {  # the library's own name of the format; the folder below the export that it wants
    "coco": "coco", "coco-runs": "coco", "coco-compressed": "coco", "coco-one-file": "coco",
    "roboflow-coco": "roboflow_coco", "yolo": "yolo", "roboflow-yolo": "roboflow_yolo", "labelme": "label_me",
    "labelme-masks": "label_me", "cvat": "cvat", "cvat-masks": "voc_segmentation", "voc": "voc_segmentation",
    "roboflow-masks": "common_semantic_segmentation", "supervisely": "sly_pointcloud",
}  # fmt: skip


def datumaro(form: str, root: Path) -> Found:
    """Read by datumaro: masks as they are, polygons through its own conversion; by z_order, later ones last."""
    import datumaro as dm

    try:
        data = dm.Dataset.import_from(str(root), NAMED.get(form, form))
    except Exception:
        data = dm.Dataset.import_from(str(root))  # it is asked to find the format itself
    data.transform("polygons_to_masks")
    names = [label.name for label in data.categories()[dm.AnnotationType.label]]
    for item in data:
        mask = np.zeros((exports.HEIGHT, exports.WIDTH), np.uint8)
        for one in sorted(item.annotations, key=lambda one: getattr(one, "z_order", 0)):
            if one.type == dm.AnnotationType.mask:
                mask[np.asarray(one.image).astype(bool)] = exports.NAMES.index(names[one.label])
        yield Path(item.id).name, mask


def supervision(form: str, root: Path) -> Found:
    """Read by supervision: masks of its detections, later ones last."""
    import supervision as sv

    for side in ("train", "val"):
        here = "valid" if side == "val" else side
        if form.startswith("coco-one"):
            data = sv.DetectionDataset.from_coco(str(root), str(root / "result.json"), force_masks=True)
        elif form.startswith("coco"):
            file = root / "annotations" / f"instances_{side}.json"
            data = sv.DetectionDataset.from_coco(str(root / "images" / side), str(file), force_masks=True)
        elif form == "roboflow-coco":
            file = root / here / "_annotations.coco.json"
            data = sv.DetectionDataset.from_coco(str(root / here), str(file), force_masks=True)
        elif form == "yolo":
            folders = (str(root / "images" / side), str(root / "labels" / side))
            data = sv.DetectionDataset.from_yolo(*folders, str(root / "data.yaml"), force_masks=True)
        elif form == "roboflow-yolo":
            folders = (str(root / here / "images"), str(root / here / "labels"))
            data = sv.DetectionDataset.from_yolo(*folders, str(root / "data.yaml"), force_masks=True)
        elif form.startswith("labelme"):
            data = sv.DetectionDataset.from_labelme(str(root), str(root), force_masks=True)
        else:
            raise LookupError("no reader")
        for path, _, detections in data:
            mask = np.zeros((exports.HEIGHT, exports.WIDTH), np.uint8)
            for index in range(len(detections)):
                mask[detections.mask[index]] = exports.NAMES.index(data.classes[detections.class_id[index]])
            yield Path(path).stem, mask


def measure(reader: Callable[[str, Path], Found], form: str) -> str:
    """Say in a few words how well one export was read."""
    with tempfile.TemporaryDirectory() as folder:
        exports.FORMATS[form].write(Path(folder) / "export")
        try:
            found = dict(reader(form, Path(folder) / "export"))
        except Exception as cause:
            return f"{type(cause).__name__}: {' '.join(str(cause).split())[:90]}"
    missing = sorted(set(exports.SIDES) - set(found))
    wrong = {n: int((found[n] != exports.truth(n)).sum()) for n in found if n in exports.SIDES}
    if not missing and not any(wrong.values()):
        return "right"
    said = [f"{count} wrong pixels in {name}" for name, count in wrong.items() if count]
    return ", ".join([*said, *([f"without {' '.join(missing)}"] if missing else [])])


def main(library: str) -> None:
    """Print one line per format."""
    warnings.simplefilter("ignore")
    logging.disable()
    readers: dict[str, Any] = {"datumaro": datumaro, "supervision": supervision}
    for form in exports.FORMATS:
        print(f"{form:16} {measure(readers[library], form)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
