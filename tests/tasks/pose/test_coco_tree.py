"""COCO's own tree and the documented command, on 200 generated images."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import saccade
from saccade.tasks.pose.joints import COCO_JOINTS

from . import figures


def coco(folder, train=160, val=40):
    """COCO's folders and file names: images without a person, crowds, and people of one to seventeen joints."""
    rng, number = np.random.default_rng(0), 0
    for side, count, first in (("train2017", train, 1), ("val2017", val, 1001)):
        (folder / side).mkdir(parents=True)
        images, annotations = [], []
        for index in range(count):
            name, size = f"{first + index:012}.jpg", (int(rng.integers(48, 120)), int(rng.integers(48, 120)))
            Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(folder / side / name)
            images.append({"id": first + index, "file_name": name, "width": size[0], "height": size[1]})
            for person in range(index % 4):
                number += 1
                points = (rng.uniform(0.1, 0.9, (17, 2)) * size).round(1)
                seen = np.where(np.arange(17) <= (index * 5 + person) % 17, rng.integers(1, 3, 17), 0)
                low, high = points[seen > 0].min(0), points[seen > 0].max(0) + 2
                given = np.concatenate([points, seen[:, None]], axis=1) * (seen > 0)[:, None]
                annotations.append(
                    {
                        "id": number, "image_id": first + index, "category_id": 1,
                        "iscrowd": int(person == 2 and index % 8 == 3), "keypoints": given.reshape(-1).tolist(),
                        "num_keypoints": int((seen > 0).sum()), "bbox": [*low.tolist(), *(high - low).tolist()],
                        "area": float((high - low).prod()) * 0.6, "segmentation": [],
                    }
                )  # fmt: skip
        person = {"id": 1, "name": "person", "supercategory": "person", "keypoints": list(COCO_JOINTS), "skeleton": []}
        content = {"info": {}, "images": images, "annotations": annotations, "categories": [person]}
        figures.written(folder / "annotations", content, f"person_keypoints_{side}.json")
    return folder


@pytest.mark.full  # a deep network
def test_the_documented_command(tmp_path):
    """The recipe of the page for two steps of a smaller HRNet; then the run is evaluated, and writes COCO's results."""
    data = coco(tmp_path / "COCO")
    how = {"device": "cpu", "progress": False}
    small = {"backbone": "hrnet_w18_small", "steps": 2, "batch": 4, "size": 64, "workers": 0}
    run = saccade.train(data, "hrnet", recipe="hrnet-coco", out=tmp_path / "run", **small, **how)
    assert run.results["scores"]["AP"] is not None
    found = saccade.evaluate(data, run.folder, workers=0, **how).results
    assert found["images"] == 30  # of 40, a quarter of which has nobody
    assert set(found["by_class"]) == set(COCO_JOINTS)
    assert {"AP", "AP50", "AR", "PCK"} <= set(found["scores"])
    saccade.predict([data / "val2017" / f"{1002:012}.jpg"], run.folder, out=tmp_path / "found", device="cpu")
    (result,) = json.loads((tmp_path / "found" / "keypoints.json").read_text())
    assert len(result["keypoints"]) == 51
